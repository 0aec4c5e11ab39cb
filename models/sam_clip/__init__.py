"""SAM-CLIP: one image tower for words and masks."""
