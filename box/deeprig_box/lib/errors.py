"""What stops a program of ours."""


class BoxError(Exception):
    """One sentence without its full stop: what is so; what to do."""
