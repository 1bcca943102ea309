"""The program that deeprig puts on a box; standard library only, Python 3.10 and later."""
