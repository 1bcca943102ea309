"""NVIDIA's driver and cards as they stand."""
