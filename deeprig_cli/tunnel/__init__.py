"""`deeprig tunnel`: the notebook of a box in your browser."""
