"""Random numbers that depend on names alone, never on order, batch or worker."""

from __future__ import annotations

import hashlib

import numpy as np


def keyed_rng(*names: str | int) -> np.random.Generator:
    """Return a generator that is a function of `names`, e.g. (seed, "augment", sample key)."""
    text = "\0".join(str(name) for name in names)
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def packing_order(count: int) -> list[int]:
    """Return the numbers below `count` in the order in which samples are packed: a random one,
    since a loader mixes neighbouring shards only, and always the same."""
    return keyed_rng("pack", count).permutation(count).tolist()
