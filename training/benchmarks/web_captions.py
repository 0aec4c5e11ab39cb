"""Labelled pictures with captions as unreliable as the web's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from zoo.models.class_names import class_prompts
from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.shards.find import find_shards
from zoo.reinforced_data.shards.read import read_shard
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.write import write_shards

UNINFORMATIVE = (
    "my favourite picture.",
    "img 0412 jpg.",
    "photo of the day.",
    "untitled.",
    "free stock image.",
    "click to enlarge.",
)


def write_web_like_shards(
    source: Path,
    folder: Path,
    *,
    class_names: Sequence[str],
    templates: Sequence[str],
    pictures: int,
    noise: float,
    seed: int = 0,
) -> None:
    """Write the first `pictures` of labelled shards with one caption each, in random order.

    A caption names the class in one of the templates, or else, with the probability `noise`, is
    half the time one of a class drawn at random and half the time says nothing. Raises ValueError
    for a sample without a label and for fewer pictures.
    """
    samples = list(islice(_samples(source), pictures))
    if len(samples) < pictures:
        raise ValueError(f"'{source}' holds {len(samples)} pictures; ask for no more.")
    order = keyed_rng(seed, "order").permutation(len(samples))
    captioned = (_captioned(samples[i], class_names, templates, noise, seed) for i in order)
    write_shards(captioned, folder)


def _samples(source: Path) -> Iterator[Sample]:
    for path in find_shards(source):
        for sample in read_shard(path):
            yield replace(sample, key=f"{path.stem}-{sample.key}")


def _captioned(
    sample: Sample, names: Sequence[str], templates: Sequence[str], noise: float, seed: int
) -> Sample:
    if sample.label is None:
        raise ValueError(f"Sample {sample.key!r} has no label; give labelled shards.")
    rng = keyed_rng(seed, "caption", sample.key)
    name = names[sample.label]
    if rng.random() < noise:
        if rng.random() < 0.5:
            return replace(sample, captions=(_drawn(UNINFORMATIVE, rng),))
        name = _drawn(names, rng)
    return replace(sample, captions=tuple(class_prompts([name], [_drawn(templates, rng)])))


def _drawn(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
