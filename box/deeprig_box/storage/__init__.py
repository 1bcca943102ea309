"""Disks, the data folder, and what of it a home gets."""
