"""What a model is: cards, towers, assembled models, preprocessing, checkpoint formats."""
