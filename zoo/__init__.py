"""Efficient image-text models: load, train on reinforced data, evaluate, export and time."""
