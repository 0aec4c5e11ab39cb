"""Looking at shards and sidecars: check, show, statistics."""
