"""What the other rooms stand on: files, programs with a limit, users' rights, what is at work."""
