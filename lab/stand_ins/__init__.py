"""Stand-ins for package repositories: NVIDIA's, its container toolkit's, and Ubuntu's archive.

Small packages with the names, versions, relations and faults of the real ones, described in data/,
built, signed and served when a test asks. Nothing in them is NVIDIA's or Ubuntu's.
"""
