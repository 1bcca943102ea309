"""Word to a person when the box needs one."""
