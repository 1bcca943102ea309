"""`deeprig init`: from an address to a first inventory."""
