"""Losses, the one training loop, recipes and resumable checkpoints."""
