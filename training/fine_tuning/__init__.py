"""From a trained model to one for your own pictures."""
