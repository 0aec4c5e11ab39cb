"""Efficient image-text models: load, train on reinforced data, evaluate, export and time.

from zoo import load_model, list_models
"""

from zoo.models.load import load_model
from zoo.models.registry import list_models

__all__ = ["list_models", "load_model"]
