"""`deeprig run`: jobs on a box that outlive the connection."""
