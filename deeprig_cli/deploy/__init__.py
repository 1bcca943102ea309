"""The deploy itself, by one command: `deeprig deploy`."""
