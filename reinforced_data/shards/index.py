"""Random access to the samples of a shard: the members' places are read once, data on demand."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from zoo.models.preprocess import open_image
from zoo.reinforced_data.shards.read import (
    IMAGE_SUFFIXES,
    build_sample,
    group_members,
    read_member,
)
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.tar_index import Member, index_tar

_NEEDED = (*IMAGE_SUFFIXES, "txt", "json")  # other members can be large


class ShardIndex:
    """The samples of one shard by their place, in the order of `read_shard`, without `extra`."""

    def __init__(self, path: Path) -> None:
        """Check and list every header. Raises what `read_shard` raises for a damaged shard."""
        if not path.is_file():
            raise FileNotFoundError(f"There is no shard {path}; expected a tar file.")
        groups = group_members(path, index_tar(path))
        self.path = path
        self.keys = tuple(groups)
        self._members: list[dict[str, Member]] = [
            {suffix: members[suffix] for suffix in members if suffix in _NEEDED}
            for members in groups.values()
        ]

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, i: int) -> Sample:
        """Return sample `i` with picture and captions.

        Raises ValueError, naming shard and key, when its captions cannot be read.
        """
        with self.path.open("rb") as file:
            data = {
                suffix: read_member(self.path, file, member)
                for suffix, member in self._members[i].items()
            }
        return build_sample(self.describe(i), self.keys[i], data)

    def describe(self, i: int) -> str:
        """Name sample `i` for an error message."""
        return f"Sample {self.keys[i]!r} of shard {self.path}"


def load_picture(index: ShardIndex, i: int) -> tuple[Sample, Image.Image]:
    """Return sample `i` of a shard, which has a caption, and its decoded RGB picture.

    Raises ValueError, naming shard and key, without a caption or for a damaged picture.
    """
    sample = index.read(i)
    if not sample.captions:
        raise ValueError(f"{index.describe(i)} has no caption; add one or leave the sample out.")
    try:
        return sample, open_image(sample.image)
    except ValueError as error:
        raise ValueError(f"{index.describe(i)} has no usable picture: {error}") from error
