"""What a model is: cards, registry, towers, assembled models, preprocessing, tokenizers, checkpoint formats."""
