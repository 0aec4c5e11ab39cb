"""Image shards: found, indexed, read without silent loss, written."""
