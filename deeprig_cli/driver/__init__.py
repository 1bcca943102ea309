"""`deeprig driver`: how the driver stands, upgrade, rollback."""
