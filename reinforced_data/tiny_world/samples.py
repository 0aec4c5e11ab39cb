"""Tiny-world scenes as samples for image shards."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.tiny_world.captions import scene_captions
from zoo.reinforced_data.tiny_world.questions import scene_questions
from zoo.reinforced_data.tiny_world.render import render_scene
from zoo.reinforced_data.tiny_world.scene import (
    MAX_OBJECTS,
    Scene,
    Split,
    class_names,
    make_scene,
)


def scene_samples(
    count: int,
    *,
    seed: int,
    split: Split = "train",
    image_size: int = 64,
    max_objects: int = MAX_OBJECTS,
    captions_per_scene: int = 3,
    caption_noise: float = 0.0,
) -> Iterator[Sample]:
    """Return scenes 0 to `count` - 1 of (seed, split); a longer run begins with the shorter one.

    `image` is a PNG of `image_size` pixels a side, `label` the index of the main object's class in
    `class_names()` (all 64, whatever the split). `extra` holds `mask.png` (0 background, i + 1
    object i) and `json` (the objects in that order, and the questions). `caption_noise` is
    explained at `scene_captions`. Raises ValueError for values that these cannot have.
    """
    if count < 1 or captions_per_scene < 1:
        raise ValueError(
            f"count is {count} and captions_per_scene {captions_per_scene}; "
            "expected at least 1 of each."
        )
    # Not a generator function: it would find a bad value only when the first sample is asked for.
    scenes = (
        make_scene(index, seed=seed, split=split, max_objects=max_objects) for index in range(count)
    )
    return (
        _sample(
            scene,
            scene_captions(scene, captions_per_scene, caption_noise=caption_noise),
            image_size,
        )
        for scene in scenes
    )


def _sample(scene: Scene, captions: tuple[str, ...], image_size: int) -> Sample:
    image, mask = render_scene(scene, image_size=image_size)
    return Sample(
        key=sample_key(scene),
        image=encode_png(image),
        captions=captions,
        label=class_names().index(scene.main.class_name),
        extra={"mask.png": encode_png(mask), "json": _description(scene)},
    )


def sample_key(scene: Scene) -> str:
    """Return the name of a scene's sample in a shard."""
    return f"{scene.split}_{scene.seed}_{scene.index:08d}"


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a picture uint8 (H, W) or (H, W, 3) as a PNG file."""
    buffer = io.BytesIO()
    # Noise does not repeat: run lengths alone compress it better than level 1, and faster.
    Image.fromarray(pixels).save(buffer, format="PNG", compress_type=zlib.Z_RLE)
    return buffer.getvalue()


def _description(scene: Scene) -> bytes:
    content = asdict(scene) | {"questions": [asdict(one) for one in scene_questions(scene)]}
    for item, described in zip(scene.objects, content["objects"], strict=True):
        described["position"] = item.position
    return json.dumps(content).encode()
