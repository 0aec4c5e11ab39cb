"""Deterministic weights: the value of a parameter depends on its checkpoint key and shape alone.

Two programs that agree on this file hold the same checkpoint without exchanging it.
"""

import zlib

import numpy as np


def seeded_array(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the float32 (int64 for counters) value of checkpoint entry `key` of `shape`."""
    leaf = key.rsplit(".", 1)[-1]
    if leaf in ("num_batches_tracked",):
        return np.zeros(shape, np.int64)
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    noise = rng.standard_normal(shape, dtype=np.float32)
    if leaf == "logit_scale":
        return np.full(shape, np.log(1 / 0.07), np.float32)
    if leaf == "running_var":
        return 1.0 + 0.1 * np.abs(noise)
    if leaf == "running_mean":
        return 0.1 * noise
    if leaf in ("gamma", "layer_scale") or "layer_scale" in key:
        return 0.1 + 0.01 * noise
    if "bias" in leaf:
        return 0.005 * noise
    if len([n for n in shape if n > 1]) <= 1:  # norm scales
        return 1.0 + 0.1 * noise
    if "embed" in key and len(shape) <= 2:
        return 0.05 * noise
    fan_in = int(np.prod(shape[1:] if len(shape) > 1 else shape))
    return 0.7 * noise / np.sqrt(fan_in)


def seeded_image(name: str, size: int, batch: int = 2) -> np.ndarray:
    """Return smooth RGB images (batch, 3, size, size), float32 in [0, 1], made from `name`."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    coarse = rng.random((batch, 3, 9, 9), dtype=np.float32)
    at = np.linspace(0, 8, size, dtype=np.float32)
    low = np.minimum(at.astype(int), 7)
    mix = (at - low).astype(np.float32)
    rows = coarse[:, :, low] * (1 - mix)[:, None] + coarse[:, :, low + 1] * mix[:, None]
    return rows[..., low] * (1 - mix) + rows[..., low + 1] * mix
