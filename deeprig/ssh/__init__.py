"""The way to a box: keys, pins, logins, one command as root."""
