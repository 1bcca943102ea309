"""What a box is and what happened on it: each question with its reader."""
