"""`zoo data tiny-world`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from zoo.commands.console import duration, say, status
from zoo.models.class_names import CLASS_NAMES_FILE
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.write import write_shards
from zoo.reinforced_data.tiny_world import class_names, conversation_samples, scene_samples
from zoo.reinforced_data.tiny_world.conversations import ConversationStyle
from zoo.reinforced_data.tiny_world.scene import MAX_OBJECTS, Split


def tiny_world(
    folder: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    scenes: int = 4000,
    seed: int = 0,
    split: Split = "train",
    image_size: int = 64,
    max_objects: int = MAX_OBJECTS,
    captions_per_scene: int = 3,
    caption_noise: float = 0.0,
    samples_per_shard: int = 1000,
    conversations: ConversationStyle | None = None,
) -> None:
    """Write scenes of the tiny world as webdataset shards, and the class names beside them.

    Args:
        folder: where the tars go; it must hold none yet.
        scenes: how many.
        seed: the same seed gives the same bytes.
        split: "train" and "test" share no combination of colour and shape; "all" has every one.
        image_size: side of the pictures in pixels.
        max_objects: largest number of objects in a scene; with 1 they are larger.
        captions_per_scene: wordings of each scene.
        caption_noise: probability that a caption is uninformative or wrong, as on the web.
        samples_per_shard: scenes a tar.
        conversations: talk about the scenes in LLaVA's form, instead of captions, masks and class
            names: a description of every cell, the places of all colours and the ways between
            them, questions of every kind, or all of the last two.
    """
    world = partial(
        _samples_of(conversations, captions_per_scene, caption_noise),
        seed=seed,
        split=split,
        image_size=image_size,
        max_objects=max_objects,
    )
    shards = write_shards(
        _with_progress(world(scenes), scenes), folder, samples_per_shard=samples_per_shard
    )
    if conversations is None:
        (folder / CLASS_NAMES_FILE).write_text("\n".join(class_names()) + "\n", encoding="utf-8")
    say(f"wrote {scenes} scenes in {len(shards)} shards to {folder}")


def _samples_of(
    conversations: ConversationStyle | None, captions_per_scene: int, caption_noise: float
) -> Callable[..., Iterator[Sample]]:
    if conversations is not None:
        return partial(conversation_samples, style=conversations)
    return partial(
        scene_samples, captions_per_scene=captions_per_scene, caption_noise=caption_noise
    )


def _with_progress(samples: Iterator[Sample], total: int) -> Iterator[Sample]:
    start = time.monotonic()
    for done, sample in enumerate(samples, start=1):
        yield sample
        if done % 1000 == 0 or done == total:
            rate = done / (time.monotonic() - start)
            left = duration((total - done) / rate)
            status(f"scenes {done}/{total}, {rate:.0f} a second, {left} left")
