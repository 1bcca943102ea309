"""Repositories: their keys, lists and indexes, and what apt and dpkg did when."""
