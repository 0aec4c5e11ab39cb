"""Whether a sample can be used: its picture decodes, its captions or its label can be read."""

from __future__ import annotations

from collections.abc import Mapping

from zoo.models.preprocess import open_image
from zoo.reinforced_data.shards.read import build_sample
from zoo.reinforced_data.shards.sample import Sample


def usable_sample(name: str, key: str, data: Mapping[str, bytes]) -> Sample:
    """Return the sample whose members hold `data`, by suffix, after decoding all of its picture.

    Raises ValueError, which calls the sample `name`, when picture, captions or label cannot be
    read, or when it has neither caption nor label.
    """
    sample = build_sample(name, key, data)
    try:
        open_image(sample.image)
    except ValueError as error:
        raise ValueError(f"{name} has no usable picture: {error}") from error
    if not sample.captions and sample.label is None:
        raise ValueError(f"{name} has no caption and no label.")
    return sample
