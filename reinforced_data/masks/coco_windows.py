"""Windows on COCO's pictures, with captions that name the objects seen through them.

A few photographs are each known by anything in them: whoever learns from them and their captions
alone never has to tell what is where. Windows of all sizes ask for that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from zoo.models.class_names import DEFAULT_TEMPLATES, class_prompts
from zoo.models.preprocess import open_image
from zoo.reinforced_data.masks.coco_objects import (
    NamedObject,
    NamedObjects,
    png_of,
    read_named_objects,
)
from zoo.reinforced_data.masks.coco_shards import picture_file
from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.write import write_shards

_CONTEXT = (1.0, 4.0)
"""Side of a window, in longer sides of the box of the object that it is put on: from…to."""
_MIDDLE = (0.25, 0.75)
"""Where in the window the middle of that box is, in sides of the window: from…to; elsewhere at the
picture's border."""
_LARGEST_SIDE = 192
"""In pixels; what is larger is made smaller."""
_SEEN_OF_BOX, _SEEN_OF_WINDOW = 0.5, 0.25
"""An object is named of which so much is in the window, or that fills so much of it."""


class _Place(NamedTuple):
    """An object that a window is put on, and what is around it."""

    picture: Path
    box: Sequence[float]
    objects: Sequence[NamedObject]
    """All of the picture."""


class _Window(NamedTuple):
    x: int
    y: int
    side: int

    def overlap(self, box: Sequence[float]) -> float:
        """Pixels of a box that are seen."""
        sides = (
            min(start + length, begin + self.side) - max(start, begin)
            for start, length, begin in zip(box[:2], box[2:], (self.x, self.y), strict=True)
        )
        return math.prod(max(0.0, side) for side in sides)


def pack_coco_windows(images: Path, instances: Path, output: Path, *, windows: int) -> list[Path]:
    """Write `windows` squares, each put on some object, and return the shards' paths.

    The categories have equally many. A caption names the categories that are seen, those with the
    largest boxes first. The same files give the same shards.

    Args:
        images: folder of the pictures.
        instances: `instances_*.json`.
        output: where the tars go; it must hold none yet.
        windows: how many.

    Raises FileNotFoundError for a file or picture that is not there, and ValueError for a file
    that is not as COCO's, has no object to name, or an output that holds shards.
    """
    named = read_named_objects(instances)
    places = _places(images, named)
    samples = (_sample(number, named.class_names, places) for number in range(windows))
    return write_shards(samples, output)


def _places(images: Path, named: NamedObjects) -> list[list[_Place]]:
    """Those of each label."""
    places: list[list[_Place]] = [[] for _ in named.class_names]
    for record, objects in named.pictures:
        picture = picture_file(images, record)
        for one in objects:
            places[one.label].append(_Place(picture, one.box, objects))
    return places


def _sample(number: int, class_names: Sequence[str], places: Sequence[Sequence[_Place]]) -> Sample:
    rng = keyed_rng("window", number)
    label = number % len(class_names)
    place = places[label][int(rng.integers(len(places[label])))]
    picture = open_image(place.picture)
    window = _put_on(place.box, picture.size, rng)
    names = [class_names[seen] for seen in _seen(window, place.objects, label)]
    captions = class_prompts([" and a ".join(names)], DEFAULT_TEMPLATES)
    return Sample(
        key=f"window-{number:06}",
        image=png_of(_cut_out(picture, window)),
        captions=tuple(captions),
    )


def _put_on(box: Sequence[float], size: tuple[int, int], rng: np.random.Generator) -> _Window:
    """Inside of a picture of `size`."""
    x, y, width, height = box
    context = math.exp(rng.uniform(math.log(_CONTEXT[0]), math.log(_CONTEXT[1])))
    side = min(round(context * max(width, height)), *size)
    left, upper = (
        round(np.clip(middle - rng.uniform(*_MIDDLE) * side, 0, whole - side))
        for middle, whole in zip((x + width / 2, y + height / 2), size, strict=True)
    )
    return _Window(left, upper, side)


def _seen(window: _Window, objects: Sequence[NamedObject], label: int) -> list[int]:
    """Labels of what is seen, the largest first; `label` is, whatever its size."""
    areas: dict[int, float] = {label: 0.0}
    for _, box, other in objects:
        area = window.overlap(box)
        if area >= _SEEN_OF_BOX * box[2] * box[3] or area >= _SEEN_OF_WINDOW * window.side**2:
            areas[other] = max(area, areas.get(other, 0.0))
    return sorted(areas, key=lambda one: areas[one], reverse=True)


def _cut_out(picture: Image.Image, window: _Window) -> Image.Image:
    x, y, side = window
    square = picture.crop((x, y, x + side, y + side))
    square.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE), Image.Resampling.BICUBIC)
    return square
