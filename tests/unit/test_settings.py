"""What a setting refuses, and in which words."""
