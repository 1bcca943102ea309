"""What programs on a box print, and words of a box in general, read."""
