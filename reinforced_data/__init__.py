"""Data that carries knowledge: shards, sidecars, recorded augmentation, teachers, captioners, loaders."""
