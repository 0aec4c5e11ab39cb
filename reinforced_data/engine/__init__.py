"""What makes sidecars: teachers, captioners, the work on a shard, many shards."""
