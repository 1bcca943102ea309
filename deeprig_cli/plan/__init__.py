"""`deeprig plan`: what a run would decide and change."""
