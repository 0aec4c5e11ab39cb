"""Windows on COCO's pictures, with captions that name the objects seen through them.

A few photographs are each known by anything in them: whoever learns from them and their captions
alone never has to tell what is where. Windows of all sizes ask for that.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from zoo.models.class_names import DEFAULT_TEMPLATES, class_prompts
from zoo.models.preprocess import open_image
from zoo.reinforced_data.masks.coco_objects import NamedObjects, read_named_objects
from zoo.reinforced_data.masks.coco_shards import picture_file
from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.shards.pack import write_packed
from zoo.reinforced_data.shards.sample import Sample

_CONTEXT = (1.0, 4.0)
"""Side of a window, in longer sides of the box of the object that it is put on: from…to."""
_MIDDLE = (0.25, 0.75)
"""Where in the window the middle of that box is, in sides of the window: from…to; elsewhere at the
picture's border."""
_LARGEST_SIDE = 192
"""In pixels; what is larger is made smaller."""
_SEEN_OF_BOX, _SEEN_OF_WINDOW = 0.5, 0.25
"""An object is named of which so much is in the window, or that fills so much of it."""
_SAMPLES_PER_SHARD = 1000


class _Scene(NamedTuple):
    """A picture, and the boxes (x, y, width, height) of its objects with their labels."""

    picture: Path
    objects: Sequence[tuple[Sequence[float], int]]


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
    scenes = [_scene(images, record, objects, named) for record, objects in named.pictures]
    placed = _placed(scenes, len(named.class_names))
    samples = (_sample(number, named, placed) for number in range(windows))
    return list(write_packed(samples, output, (), _SAMPLES_PER_SHARD).shards)


def _scene(
    images: Path,
    record: Mapping[str, Any],
    objects: Sequence[Mapping[str, Any]],
    named: NamedObjects,
) -> _Scene:
    boxes = [(one["bbox"], named.labels[one["category_id"]]) for one in objects]
    return _Scene(picture_file(images, record), boxes)


def _placed(scenes: Sequence[_Scene], labels: int) -> list[list[tuple[_Scene, Sequence[float]]]]:
    """The boxes of each label, with their scenes."""
    found: list[list[tuple[_Scene, Sequence[float]]]] = [[] for _ in range(labels)]
    for scene in scenes:
        for box, label in scene.objects:
            found[label].append((scene, box))
    return found


def _sample(
    number: int, named: NamedObjects, placed: Sequence[Sequence[tuple[_Scene, Sequence[float]]]]
) -> Sample:
    rng = keyed_rng("window", number)
    label = number % len(named.class_names)
    scene, box = placed[label][int(rng.integers(len(placed[label])))]
    picture = open_image(scene.picture)
    window = _put_on(box, picture.size, rng)
    names = [named.class_names[seen] for seen in _seen(window, scene, label)]
    captions = class_prompts([" and a ".join(names)], DEFAULT_TEMPLATES)
    return Sample(
        key=f"window-{number:06}", image=_cut_out(picture, window), captions=tuple(captions)
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


def _seen(window: _Window, scene: _Scene, label: int) -> list[int]:
    """Labels of what is seen, the largest first; `label` is, whatever its size."""
    areas: dict[int, float] = {label: 0.0}
    for box, other in scene.objects:
        area = window.overlap(box)
        if area >= _SEEN_OF_BOX * box[2] * box[3] or area >= _SEEN_OF_WINDOW * window.side**2:
            areas[other] = max(area, areas.get(other, 0.0))
    return sorted(areas, key=lambda one: areas[one], reverse=True)


def _cut_out(picture: Image.Image, window: _Window) -> bytes:
    """Return a PNG."""
    x, y, side = window
    square = picture.crop((x, y, x + side, y + side))
    square.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    square.save(file, "PNG")
    return file.getvalue()
