"""The objectives of image-text training, as formulas over a batch of features.

Everything here takes L2-normalised features (B, D) whose rows match: row i of the image features
and row i of the text features come from the same sample. `logit_scale` is the multiplier itself
(100.0), not its logarithm. A loss is the mean over the batch, a scalar in nats, differentiable in
every student argument.
"""
