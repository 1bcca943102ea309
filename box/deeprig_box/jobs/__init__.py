"""Jobs of `deeprig run`."""
