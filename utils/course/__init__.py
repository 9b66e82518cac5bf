"""The machinery of the course; it knows worlds and lessons only by name."""
