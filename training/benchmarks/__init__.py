"""Measures the training room: losses, steps, the cost of reinforcement, learning efficiency."""
