"""Many strings as two tensors: their utf-8 bytes end to end, and where each begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np


def pack_strings(name: str, strings: Iterable[str]) -> dict[str, np.ndarray]:
    """Return tensors `NAME.bytes` uint8 (·) and `NAME.offsets` int64 (N+1)."""
    encoded = [text.encode() for text in strings]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    content = np.frombuffer(b"".join(encoded), np.uint8)
    return {f"{name}.bytes": content, f"{name}.offsets": offsets}


def unpack_strings(
    tensors: Mapping[str, np.ndarray], name: str, first: int, last: int
) -> tuple[str, ...]:
    """Return the strings `first` to `last`, exclusive, reading only their bytes."""
    offsets = tensors[f"{name}.offsets"][first : last + 1]
    start = offsets.item(0)
    content = tensors[f"{name}.bytes"][start : offsets.item(-1)].tobytes()
    bounds = (offsets - start).tolist()
    return tuple(content[a:b].decode() for a, b in pairwise(bounds))
