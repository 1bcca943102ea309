"""NVIDIA's driver installed, moved to another version, taken back and taken out."""
