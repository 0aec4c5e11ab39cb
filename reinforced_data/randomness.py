"""Random numbers that depend on names alone, never on order, batch or worker."""

from __future__ import annotations

import hashlib

import numpy as np


def keyed_rng(*names: str | int) -> np.random.Generator:
    """Return a generator that is a function of `names`, e.g. (seed, "augment", sample key)."""
    text = "\0".join(str(name) for name in names)
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))
