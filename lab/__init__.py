"""Throwaway machines, real enough to believe: for the demo, the tests, and trying things out."""
