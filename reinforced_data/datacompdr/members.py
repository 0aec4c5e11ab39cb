"""One sample in Apple's published layout: its members, decoded and checked.

    KEY.npz | KEY.pth.gz   image_emb (A, D) and text_emb (1+C, D), or text_emb (1, D) and one
                           `syn_text…_emb` for each list of captions; `npz` goes before `pth.gz`
    KEY.syn.json           {"syn_text": [C captions]}, or several `syn_text<suffix>` lists
    KEY.paug.json          {"param_aug": the recorded augmentations}

Row 0 of `text_emb` is the ground-truth caption. D is the teachers' numbers end to end.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from PIL import Image

from zoo.models.preprocess import DECODING_ERRORS
from zoo.reinforced_data.augmentation.paug import parse_paug
from zoo.reinforced_data.datacompdr.embeddings import READING_ERRORS, read_npz, read_pth_gz
from zoo.reinforced_data.sidecars.embedding_storage import Storage
from zoo.reinforced_data.sidecars.header import TeacherInfo

EMBEDDING_SUFFIXES = ("npz", "pth.gz")
CAPTION_SUFFIX = "syn.json"
AUGMENTATION_SUFFIX = "paug.json"
MEMBER_SUFFIXES = (*EMBEDDING_SUFFIXES, CAPTION_SUFFIX, AUGMENTATION_SUFFIX)
"""Suffixes of the members that hold the reinforcement."""

_READERS = {"npz": read_npz, "pth.gz": read_pth_gz}
_EXIF_ORIENTATION = 0x0112
_LENGTH_TOLERANCE = 0.05  # bfloat16 is off by 0.4 % at most


@dataclass(frozen=True, kw_only=True)
class ReinforcedSample:
    """What Apple stored for one picture; embeddings float32, by the teacher's name."""

    augment_params: np.ndarray
    """float32 (A, P), see `AugmentationPolicy`"""
    captions: tuple[str, ...]
    """The C synthetic captions."""
    image_embeddings: Mapping[str, np.ndarray]
    """(A, D_k)"""
    text_embeddings: Mapping[str, np.ndarray]
    """(1+C, D_k)"""
    storage: Storage
    """The number format in the shard."""

    @property
    def counts(self) -> tuple[int, int]:
        """Augmentations and synthetic captions: A, C."""
        return len(self.augment_params), len(self.captions)


def missing_members(suffixes: Sequence[str] | Mapping[str, object]) -> str | None:
    """Say what a sample with these members lacks; None when its reinforcement is complete."""
    if not any(suffix in suffixes for suffix in EMBEDDING_SUFFIXES):
        return "no embeddings (npz or pth.gz)"
    for suffix in (AUGMENTATION_SUFFIX, CAPTION_SUFFIX):
        if suffix not in suffixes:
            return f"no {suffix}"
    return None


def decode_members(
    name: str, data: Mapping[str, bytes], image: bytes, teachers: Sequence[TeacherInfo]
) -> ReinforcedSample:
    """Decode the members `data` (by suffix) of a sample whose picture is `image`.

    Raises ValueError that begins with `name` when a member is missing, damaged, or does not fit
    the others, the picture or the teachers.
    """
    missing = missing_members(data)
    if missing is not None:
        raise ValueError(f"{name} has {missing}; it was not reinforced, or its shard is damaged.")
    suffix = next(suffix for suffix in EMBEDDING_SUFFIXES if suffix in data)
    try:
        arrays, storage = _READERS[suffix](data[suffix])
    except READING_ERRORS as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{name} has a .{suffix} that cannot be read ({reason}).") from error
    width, height = _picture_size(name, image)
    params = _augmentations(name, data[AUGMENTATION_SUFFIX], width, height)
    image_rows = _rows(name, arrays, _image_array(name, arrays))
    if len(image_rows) != len(params):
        raise ValueError(
            f"{name} has {len(image_rows)} image embeddings but {len(params)} recorded "
            "augmentations; expected as many."
        )
    captions, text_rows = _texts(name, _caption_lists(name, data[CAPTION_SUFFIX]), arrays)
    return ReinforcedSample(
        augment_params=params,
        captions=captions,
        image_embeddings=_split(name, "image", image_rows, teachers),
        text_embeddings=_split(name, "text", text_rows, teachers),
        storage=storage,
    )


def _picture_size(name: str, image: bytes) -> tuple[int, int]:
    """Width and height from the header alone."""
    try:
        picture = Image.open(io.BytesIO(image))
        orientation = picture.getexif().get(_EXIF_ORIENTATION, 1)
    except DECODING_ERRORS as error:
        raise ValueError(f"{name} has no usable picture: {error}.") from error
    if orientation != 1:
        # Apple drew its boxes on the pixels as stored; the zoo turns a picture upright first.
        raise ValueError(
            f"{name} has a picture with EXIF orientation {orientation}, which Apple's "
            "augmentations do not know; leave the sample out."
        )
    return picture.size


def _augmentations(name: str, data: bytes, width: int, height: int) -> np.ndarray:
    try:
        return parse_paug(data, width, height)
    except ValueError as error:
        raise ValueError(
            f"{name} has a .{AUGMENTATION_SUFFIX} that does not fit: {error}"
        ) from error


def _caption_lists(name: str, data: bytes) -> dict[str, list[str]]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} has a .{CAPTION_SUFFIX} that is not JSON ({error}).") from error
    lists = content if isinstance(content, dict) else {}
    lists = {key: texts for key, texts in lists.items() if key.startswith("syn_text")}
    if not lists or not all(map(_is_list_of_texts, lists.values())):
        raise ValueError(f"{name} has a .{CAPTION_SUFFIX} without lists of texts under syn_text….")
    return lists


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _image_array(name: str, arrays: Mapping[str, np.ndarray]) -> str:
    # ml-mobileclip-dr forgets an f before a string: its arrays are `image_emb{self.tag_suffix}`.
    found = [key for key in arrays if key.startswith("image_emb")]
    if len(found) != 1:
        raise ValueError(
            f"{name} has the embeddings {', '.join(sorted(arrays)) or 'of nothing'}; expected one "
            "image_emb."
        )
    return found[0]


def _texts(
    name: str, lists: Mapping[str, list[str]], arrays: Mapping[str, np.ndarray]
) -> tuple[tuple[str, ...], np.ndarray]:
    """Captions and the embeddings of (ground truth, captions…): (1+C, D)."""
    text_rows = _rows(name, arrays, "text_emb")
    embedded = {key: texts for key, texts in lists.items() if f"{key}_emb" in arrays}
    if embedded:
        parts = [_rows(name, arrays, f"{key}_emb") for key in embedded]
        text_rows, lists = np.concatenate([text_rows[:1], *parts]), embedded
    captions = tuple(text for texts in lists.values() for text in texts)
    if len(text_rows) != 1 + len(captions):
        raise ValueError(
            f"{name} has {len(captions)} synthetic captions but {len(text_rows)} text embeddings; "
            "expected one more than captions, the first for the ground truth."
        )
    return captions, text_rows


def _rows(name: str, arrays: Mapping[str, np.ndarray], key: str) -> np.ndarray:
    if key not in arrays:
        raise ValueError(f"{name} has no array {key}, only {', '.join(sorted(arrays))}.")
    rows = arrays[key]
    if rows.size == 0:
        raise ValueError(
            f"{name} has an empty {key}: ml-mobileclip-dr leaves every sample behind the first "
            "batch of a shard without embeddings; reinforce it again."
        )
    if rows.ndim != 2:
        raise ValueError(f"{name} has {key} of shape {rows.shape}; expected (rows, numbers).")
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} has {key} that is not finite.")
    return rows


def _split(
    name: str, kind: str, rows: np.ndarray, teachers: Sequence[TeacherInfo]
) -> dict[str, np.ndarray]:
    """The teachers' own embeddings, after a look whether the teachers are the right ones."""
    bounds = [0, *accumulate(teacher.embed_dim for teacher in teachers)]
    described = " + ".join(f"{teacher.embed_dim} of {teacher.name}" for teacher in teachers)
    if rows.shape[1] != bounds[-1]:
        raise ValueError(
            f"{name} has {kind} embeddings of {rows.shape[1]} numbers, but the teachers make "
            f"{bounds[-1]} ({described}); name the set that it belongs to."
        )
    parts = {
        teacher.name: rows[:, first:last]
        for teacher, (first, last) in zip(teachers, pairwise(bounds), strict=True)
    }
    for teacher, part in parts.items():
        lengths = np.linalg.norm(part, axis=1)
        if np.abs(lengths - 1).max() > _LENGTH_TOLERANCE:
            raise ValueError(
                f"{name} has {kind} embeddings whose part of {teacher} is {lengths.min():.3g} to "
                f"{lengths.max():.3g} long, not 1: the teachers ({described}) are not those of "
                "this set, or the embeddings are damaged."
            )
    return parts
