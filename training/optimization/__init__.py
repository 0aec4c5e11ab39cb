"""How parameters move: the optimizer, the learning rate, averages of the weights."""
