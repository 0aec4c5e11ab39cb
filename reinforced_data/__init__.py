"""Data that carries knowledge: shards, sidecars, augmentation, teachers, captioners, loaders."""
