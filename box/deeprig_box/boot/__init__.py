"""What boots next, whether it comes up with the driver, and the way back where it does not."""
