"""What deeprig knows that is not a pyinfra task: settings, connections, and the verbs."""

__version__ = "0.1.0"
