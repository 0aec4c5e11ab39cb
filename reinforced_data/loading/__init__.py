"""Training batches from shards and sidecars."""
