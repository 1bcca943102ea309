"""Small programs that attack a throwaway box: they are sent there and run as an account of it.

Each says in its own log that it ran, is bounded in time and count, and ends by itself.
"""
