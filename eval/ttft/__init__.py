"""Time to first token: its parts, its peers, and both of its definitions."""
