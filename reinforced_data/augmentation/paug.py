"""Apple's recorded augmentations (`KEY.paug.json` of DataCompDR and DFNDR) and ours.

    {"param_aug": [[[top, left, height, width], [[op, magnitude], [op, magnitude]]], …]}

One entry an augmentation, one member for each random transformation of the policy that drew it:
crop, then flip, RandAugment and random erasing where they are on (`Compose.compress` in
ml-mobileclip's `training/dr/transforms.py`). The crop is in pixels of the original picture,
translations and the erased box [top, left, height, width] in pixels of the 224 × 224 view, `op`
an index into `RANDAUGMENT_OPS`. What was skipped at random is null or missing at the end.

The originals never turn pictures by their EXIF orientation: `width` and `height` are those of
the picture as stored, and a picture that is turned when it is read shows another view.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from zoo.reinforced_data.augmentation.boxes import crop_pixels, erased_pixels
from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.augmentation.randaugment import RANDAUGMENT_OPS

APPLE_POLICY = AugmentationPolicy()
"""What drew the published sets' augmentations (`training/configs/datacompdr{1b,12m}.json`)."""

_APPLE_SIZE = 224
_NAMES = [op.name for op in RANDAUGMENT_OPS]
_TRANSLATIONS = (_NAMES.index("TranslateX"), _NAMES.index("TranslateY"))
_POSTERIZE = _NAMES.index("Posterize")
_BITS = (0, 8)  # what Posterize can keep
_MAGNITUDES = (-1000, 1000)  # far wider than RandAugment's: Solarize goes up to 255


def parse_paug(
    text: bytes | str, width: int, height: int, policy: AugmentationPolicy = APPLE_POLICY
) -> np.ndarray:
    """Return the augmentations of a `paug.json` as records of `policy`: float32 (A, P).

    `policy.replay` of a row at 224 gives the pixels of Apple's own replay of that entry. `width`
    and `height` are those of the picture in pixels. `param_aug` may be a list or, as in the
    viewer of Hugging Face, a string of JSON.

    Raises ValueError, without naming file or key, for other content and for a crop that does not
    lie in a picture of that size.
    """
    entries = _entries(text)
    rows = [_row(entry, (width, height), policy, number) for number, entry in enumerate(entries)]
    return np.array(rows, dtype=np.float32)


def format_paug(
    params: np.ndarray, width: int, height: int, policy: AugmentationPolicy = APPLE_POLICY
) -> dict[str, Any]:
    """Return records (A, P) of a picture of `width` × `height` pixels as a `paug.json` holds them.

    The inverse of `parse_paug`; the erased box is rounded to the pixels of the 224 × 224 view.
    """
    return {"param_aug": [_members(row, width, height, policy) for row in params]}


def _entries(text: bytes | str) -> list[Any]:
    try:
        content = json.loads(text)
        entries = content["param_aug"]
        if isinstance(entries, str):
            entries = json.loads(entries)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"The recorded augmentations are not JSON with the field 'param_aug' ({error!r})."
        ) from error
    if not isinstance(entries, list) or not entries:
        raise ValueError("The field 'param_aug' is not a list of at least one augmentation.")
    return entries


def _row(
    entry: Any, picture: tuple[int, int], policy: AugmentationPolicy, number: int
) -> list[float]:
    expected = _member_names(policy)
    if not isinstance(entry, list) or not 1 <= len(entry) <= len(expected):
        raise ValueError(
            f"Augmentation {number} is {entry!r}, but this policy records {', '.join(expected)}."
        )
    members = dict(zip(expected, entry, strict=False))
    try:
        erased = _fractions(members.get("erased box") or [0, 0, 0, 0], (_APPLE_SIZE,) * 2, 0)
        return [
            *_fractions(members["crop"], picture, 1),
            float(bool(members.get("flip"))),
            *_op_values(members.get("RandAugment"), policy.num_ops),
            *(erased if policy.erase_probability else ()),
        ]
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"Augmentation {number} is {entry!r}: {error}.") from error


def _member_names(policy: AugmentationPolicy) -> list[str]:
    switched_on = {
        "crop": True,
        "flip": policy.flip_probability > 0,
        "RandAugment": policy.num_ops > 0,
        "erased box": policy.erase_probability > 0,
    }
    return [name for name, on in switched_on.items() if on]


def _fractions(box: Any, size: tuple[int, ...], smallest: int) -> tuple[float, float, float, float]:
    """[top, left, height, width] in pixels of `size` (width, height) -> our order, fractions."""
    width, height = size
    top, left, box_height, box_width = (int(value) for value in box)
    inside = 0 <= left <= width - box_width and 0 <= top <= height - box_height
    if not inside or min(box_width, box_height) < smallest:
        raise ValueError(f"the box {box} does not lie in a picture of {width}×{height} pixels")
    return left / width, top / height, box_width / width, box_height / height


def _op_values(ops: Any, count: int) -> list[float]:
    if ops is None:
        return [0.0, 0.0] * count  # Identity
    if len(ops) != count:
        raise ValueError(f"it has {len(ops)} operations instead of {count}")
    return [value for index, magnitude in ops for value in _op_value(index, magnitude)]


def _op_value(index: Any, magnitude: Any) -> tuple[float, float]:
    if index not in range(len(RANDAUGMENT_OPS)):
        raise ValueError(f"operation {index!r} is not an index of 0…{len(RANDAUGMENT_OPS) - 1}")
    lowest, highest = _BITS if index == _POSTERIZE else _MAGNITUDES
    if not lowest <= magnitude <= highest:
        raise ValueError(f"magnitude {magnitude!r} of {_NAMES[index]} is impossible")
    if index in _TRANSLATIONS:
        magnitude = magnitude / _APPLE_SIZE
    return float(index), float(magnitude)


def _members(params: np.ndarray, width: int, height: int, policy: AugmentationPolicy) -> list[Any]:
    view = policy.view(params)
    members: dict[str, Any] = {
        "crop": _apple_box(crop_pixels(view.crop, width, height)),
        "flip": view.flipped,
        "RandAugment": [
            [index, magnitude * _APPLE_SIZE if index in _TRANSLATIONS else magnitude]
            for index, magnitude in view.ops
        ],
        "erased box": _apple_box(erased_pixels(view.erased, _APPLE_SIZE)),
    }
    return [members[name] for name in _member_names(policy)]


def _apple_box(box: tuple[int, int, int, int]) -> list[int]:
    left, top, right, bottom = box
    return [top, left, bottom - top, right - left]
