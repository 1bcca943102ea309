"""GPUs, system and settings -> driver, CUDA and torch, or a refusal; pure."""
