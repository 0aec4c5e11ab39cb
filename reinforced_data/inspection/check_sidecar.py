"""Whether a sidecar is what was written, belongs to its shard and says something sensible."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from zoo.reinforced_data.augmentation.randaugment import RANDAUGMENT_OPS
from zoo.reinforced_data.inspection.finding import Finding
from zoo.reinforced_data.sidecars.sidecar import Sidecar
from zoo.reinforced_data.sidecars.tensor_file import TensorFile

LENGTH_TOLERANCE = 0.02
"""How far from 1 an embedding's length may be; int8 moved 120,000 random ones by 0.005 at most."""
_ROUNDING = 1e-5  # of float32 fractions
_AGAIN = "Delete the sidecar and reinforce the shard again."
_CHANGED = "Restore the shard as it was, or delete the sidecar and reinforce the shard again."


def check_sidecar(
    path: Path,
    shard: Path,
    digests: Mapping[str, bytes],
    with_captions: Collection[str],
) -> list[Finding]:
    """Return what is wrong with the sidecar `path` of `shard`.

    `digests`: `content_digest` of every sample by its key, in the shard's order, empty where it has
    none; `with_captions`: the keys of the samples that a teacher could use.
    """
    try:
        tensors = TensorFile(path).tensors
        sidecar = Sidecar.open(path)
        sidecar.verify()
        _check_strings(path, tensors)
    except ValueError as error:
        return [_finding(path, None, str(error))]
    try:
        sidecar.check_shard(shard, tuple(digests))
    except ValueError as error:
        return [_finding(path, None, str(error), _CHANGED)]
    return [
        *_size_findings(sidecar, shard),
        *_digest_findings(sidecar, shard, digests),
        *_valid_findings(sidecar, with_captions),
        *_embedding_findings(sidecar),
        *_augmentation_findings(sidecar),
    ]


def _check_strings(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    for name in ("keys", "captions"):
        content, offsets = tensors[f"{name}.bytes"], tensors[f"{name}.offsets"]
        ends = (offsets[0], offsets[-1]) == (0, len(content))
        if not ends or (np.diff(offsets) < 0).any():
            raise ValueError(f"'{path}' has offsets of {name} that do not fit their bytes.")
        for row, (start, end) in enumerate(pairwise(offsets)):
            try:
                content[start:end].tobytes().decode()
            except UnicodeDecodeError as error:
                raise ValueError(f"'{path}' has {name} that are not utf-8, row {row}.") from error


def _size_findings(sidecar: Sidecar, shard: Path) -> Iterator[Finding]:
    size, said = shard.stat().st_size, sidecar.header.shard_bytes
    if size != said:
        what = f"Shard {shard} has {size} bytes, but {said} when '{sidecar.path}' was written."
        yield _finding(sidecar.path, None, what, _CHANGED)


def _digest_findings(
    sidecar: Sidecar, shard: Path, digests: Mapping[str, bytes]
) -> Iterator[Finding]:
    for (key, found), stored in zip(digests.items(), sidecar.digests, strict=True):
        if found and stored.any() and stored.tobytes() != found:
            what = f"Picture or captions of sample {key!r} of shard {shard} have changed since "
            what += f"'{sidecar.path}' was written."
            yield _finding(sidecar.path, key, what, _CHANGED)


def _valid_findings(sidecar: Sidecar, with_captions: Collection[str]) -> Iterator[Finding]:
    for i in np.flatnonzero(~sidecar.valid):
        key = sidecar.keys[i]
        if key in with_captions:
            what = f"Sample {key!r} is marked as not valid in '{sidecar.path}' but can be used."
            yield _finding(sidecar.path, key, what)


def _embedding_findings(sidecar: Sidecar) -> Iterator[Finding]:
    header = sidecar.header
    readers = (
        ("image", sidecar.image_embeddings, header.augmentations),
        ("text", sidecar.text_embeddings, 1 + header.captions),
    )
    for teacher in sidecar.teachers:
        for kind, read, rows in readers:
            for row in range(rows):
                lengths = np.linalg.norm(read(teacher, slice(None), row), axis=1)
                wrong = sidecar.valid & ~(abs(lengths - 1) <= LENGTH_TOLERANCE)  # NaN is wrong
                for i in np.flatnonzero(wrong):
                    yield _wrong_length(sidecar, i, f"{teacher}'s {kind} embedding {row}", lengths)


def _wrong_length(sidecar: Sidecar, i: int, which: str, lengths: np.ndarray) -> Finding:
    key, length = sidecar.keys[i], lengths[i]
    is_what = "is empty (all zeros)" if length == 0 else f"has length {length:.3g}, not 1"
    if not np.isfinite(length):
        is_what = "is not finite"
    what = f"{which} of sample {key!r} in '{sidecar.path}' {is_what}."
    return _finding(sidecar.path, key, what)


def _augmentation_findings(sidecar: Sidecar) -> Iterator[Finding]:
    for i in np.flatnonzero(sidecar.valid):
        for a in range(sidecar.header.augmentations):
            problem = _augmentation_problem(sidecar, int(i), a)
            if problem:
                what = f"Augmentation {a} of sample {sidecar.keys[i]!r} in '{sidecar.path}' "
                yield _finding(sidecar.path, sidecar.keys[i], f"{what}{problem}")


def _augmentation_problem(sidecar: Sidecar, i: int, a: int) -> str | None:
    params = sidecar.augment_params(i, a)
    if not np.isfinite(params).all():
        return "holds numbers that are not finite."
    view = sidecar.policy.view(params)
    if not _is_box(view.crop) or min(view.crop[2:]) <= 0:
        return f"crops {view.crop}, which does not lie in the picture."
    if not _is_box(view.erased):
        return f"erases {view.erased}, which does not lie in the picture."
    for index, magnitude in view.ops:
        if index not in range(len(RANDAUGMENT_OPS)):
            return f"names operation {index}, which does not exist."
        op = RANDAUGMENT_OPS[index]
        highest = max(op.strength(0), op.strength(1))
        if not -highest * op.signed - _ROUNDING <= magnitude <= highest + _ROUNDING:
            return f"has magnitude {magnitude:g} for {op.name}, of at most {highest:g}."
    return None


def _is_box(box: tuple[float, ...]) -> bool:
    left, top, width, height = box
    inside = left + width <= 1 + _ROUNDING and top + height <= 1 + _ROUNDING
    return inside and min(box) >= 0


def _finding(path: Path, key: str | None, what: str, advice: str = _AGAIN) -> Finding:
    return Finding(file=path, key=key, kind="sidecar", what=what, advice=advice)
