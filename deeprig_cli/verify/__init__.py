"""`deeprig verify`: runs tests/host, reports, writes evidence."""
