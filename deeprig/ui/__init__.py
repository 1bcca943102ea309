"""What people see and type: the screen, options, progress, tables."""
