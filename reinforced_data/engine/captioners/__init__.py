"""Captioners: they give each picture synthetic captions."""
