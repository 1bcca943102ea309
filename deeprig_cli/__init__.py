"""What a person types: a module or package for each verb of `deeprig`."""
