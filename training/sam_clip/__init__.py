"""SAM-CLIP: a SAM learns a CLIP from stored embeddings, and stays a SAM by stored masks."""
