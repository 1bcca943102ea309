"""`deeprig wake` and `deeprig off`."""
