"""A pyinfra connector that keeps one shell, and asks everything at once."""
