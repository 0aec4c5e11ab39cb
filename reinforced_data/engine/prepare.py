"""What worker processes do: decode pictures and replay augmentations, without any model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.engine.preparation import Preparation
from zoo.reinforced_data.engine.settings import OnError
from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.shards.index import DIGEST_BYTES, ShardIndex, load_picture
from zoo.reinforced_data.sidecars.sidecar import Sidecar


@dataclass(frozen=True, kw_only=True)
class ShardRecipe:
    """How the pictures of a shard are prepared."""

    task: int
    """Number of the shard's task."""
    shard: Path
    kept: Path | None
    """A sidecar whose augmentations are replayed and whose valid samples are used."""
    policy: AugmentationPolicy
    augmentations: int
    seed: int
    preparations: tuple[Preparation, ...]
    """One for each resolution that a teacher looks at."""
    pictures: bool
    """Whether the captioner needs the pictures themselves."""
    on_error: OnError


class Part(NamedTuple):
    """Samples of a shard that are prepared, and looked at, together."""

    recipe: ShardRecipe
    rows: range


class Pictures(NamedTuple):
    """Pictures of any size as one tensor, which passes between processes without a copy."""

    pixels: Tensor
    """uint8 (·)"""
    sizes: list[tuple[int, int]]
    """Height and width."""

    @classmethod
    def pack(cls, images: Sequence[Image.Image]) -> Pictures:
        """Take RGB pictures."""
        arrays = [torch.from_numpy(np.array(image)) for image in images]
        sizes = [(image.height, image.width) for image in images]
        return cls(torch.cat([array.flatten() for array in arrays] or [torch.zeros(0)]), sizes)

    def unpack(self) -> list[Image.Image]:
        """Return the RGB pictures."""
        flat = self.pixels.split([3 * height * width for height, width in self.sizes])
        shapes = zip(flat, self.sizes, strict=True)
        return [Image.fromarray(pixels.view(*size, 3).numpy()) for pixels, size in shapes]


class PreparedPart(NamedTuple):
    """A part, ready for teachers and captioner: n of its samples can be used."""

    part: Part
    digests: np.ndarray
    """Of every row, zeros where unknown: uint8 (rows, 8)."""
    used: list[int]
    """The n rows."""
    unusable: dict[int, str]
    """The others, and why."""
    params: np.ndarray
    """float32 (n, A, P)"""
    captions: list[str]
    """The first ground-truth caption of n samples, empty in a shard of pictures alone."""
    views: dict[int, Tensor]
    """By resolution S: uint8 (n, A, 3, S, S)."""
    pictures: Pictures | None


class PreparedParts(Dataset[PreparedPart | Exception]):
    """Prepares any `Part` that it is asked for.

    What a user can put right comes back as the ValueError or OSError itself, because torch would
    raise it with the traceback of the worker in place of its sentence.
    """

    def __init__(self) -> None:
        self._open: tuple[ShardRecipe, ShardIndex, Sidecar | None] | None = None

    def __getitem__(self, part: Part) -> PreparedPart | Exception:
        try:
            return _prepare(part, *self._opened(part.recipe))
        except (ValueError, OSError) as error:
            return sendable(error)

    def _opened(self, recipe: ShardRecipe) -> tuple[ShardIndex, Sidecar | None]:
        if self._open is None or self._open[0] != recipe:
            index = ShardIndex(recipe.shard, recipe.on_error)
            kept = None if recipe.kept is None else Sidecar.open(recipe.kept)
            self._open = recipe, index, kept
        return self._open[1:]


def sendable(error: ValueError | OSError) -> Exception:
    """Return an error with the same sentence that any process can rebuild."""
    return error if isinstance(error, OSError) else ValueError(str(error))


def _prepare(part: Part, index: ShardIndex, kept: Sidecar | None) -> PreparedPart:
    recipe = part.recipe
    digests = np.zeros((len(part.rows), DIGEST_BYTES), np.uint8)
    images: dict[int, Image.Image] = {}
    captions, unusable = [], {}
    for place, i in enumerate(part.rows):
        if kept is not None and not kept.valid[i]:
            continue
        try:
            digests[place] = np.frombuffer(index.digest(i), np.uint8)
            sample, images[i] = load_picture(index, i)
        except ValueError as error:
            if recipe.on_error == "stop" or kept is not None:
                raise
            unusable[i] = str(error)
        else:
            captions.append(sample.captions[0] if sample.captions else "")
    params = _params(recipe, images, index.keys, kept)
    return PreparedPart(
        part=part,
        digests=digests,
        used=list(images),
        unusable=unusable,
        params=params,
        captions=captions,
        views={
            preparation.image_size: _views(preparation, images, params, recipe)
            for preparation in recipe.preparations
        },
        pictures=Pictures.pack(list(images.values())) if recipe.pictures else None,
    )


def _params(
    recipe: ShardRecipe, images: dict[int, Image.Image], keys: Sequence[str], kept: Sidecar | None
) -> np.ndarray:
    """The augmentations of `images`: those that are stored, or newly drawn."""
    count = recipe.augmentations
    params = np.zeros((len(images), count, len(recipe.policy.columns)), np.float32)
    for row, (i, image) in zip(params, images.items(), strict=True):
        rng = keyed_rng(recipe.seed, "augment", keys[i])
        for a in range(count):
            if kept is not None:
                row[a] = kept.augment_params(i, a)
            else:
                row[a] = recipe.policy.record(rng, image.width, image.height)
    return params


def _views(
    preparation: Preparation,
    images: dict[int, Image.Image],
    params: np.ndarray,
    recipe: ShardRecipe,
) -> Tensor:
    """Replay every augmentation of every picture: uint8 (n, A, 3, S, S)."""
    size = preparation.image_size
    views = torch.zeros((len(images), recipe.augmentations, 3, size, size), dtype=torch.uint8)
    for of_image, image, records in zip(views, images.values(), params, strict=True):
        for a, record in enumerate(records):
            of_image[a] = preparation(recipe.policy.replay(image, record, size))
    return views
