"""Words for every pixel, masks of objects, and heads on frozen features: how good they are."""
