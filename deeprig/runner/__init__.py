"""One pyinfra run by its API, with its report."""
