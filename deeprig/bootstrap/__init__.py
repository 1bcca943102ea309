"""First contact with a box: its key pinned, the deploy user made."""
