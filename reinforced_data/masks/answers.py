"""What a teacher says about one sample of a shard."""

from __future__ import annotations

from pathlib import Path

from zoo.models.preprocess import open_image
from zoo.models.sam_clip.frame import Frame
from zoo.reinforced_data.engine.settings import OnError
from zoo.reinforced_data.masks.header import MaskHeader
from zoo.reinforced_data.masks.instances import read_instances
from zoo.reinforced_data.masks.prompts import PromptRows, draw_prompts, grid_prompts
from zoo.reinforced_data.masks.teacher import Answer, MaskTeacher
from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.shards.read import IMAGE_SUFFIXES, group_members, read_member
from zoo.reinforced_data.shards.tar_index import index_tar


class ShardSamples:
    """The samples of a shard with all of their members, by their place."""

    def __init__(self, path: Path, on_error: OnError) -> None:
        """Raises ValueError for a damaged tar and, with "stop", for a sample without a picture."""
        self.path = path
        self._groups, self._problems = group_members(path, index_tar(path))
        if self._problems and on_error == "stop":
            raise ValueError(next(iter(self._problems.values())))
        self.keys = tuple(self._groups)

    def members(self, i: int) -> dict[str, bytes]:
        """Return the members of sample `i` by suffix; ValueError where it has no picture."""
        key = self.keys[i]
        if key in self._problems:
            raise ValueError(self._problems[key])
        with self.path.open("rb") as file:
            return {
                suffix: read_member(self.path, file, member)
                for suffix, member in self._groups[key].items()
            }

    def describe(self, i: int) -> str:
        """Name sample `i` for a message."""
        return f"Sample {self.keys[i]!r} of shard {self.path}"


def answered(
    samples: ShardSamples,
    i: int,
    members: dict[str, bytes],
    teacher: MaskTeacher,
    asked: MaskHeader,
) -> tuple[PromptRows, list[Answer]]:
    """Return the prompts about sample `i`, whose `members` these are, and the teacher's answers.

    None where the picture has no instance and the teacher is the truth. Raises ValueError, naming
    shard and key, for a damaged picture or damaged masks.
    """
    data = next(members[suffix] for suffix in IMAGE_SUFFIXES if suffix in members)
    try:
        image = open_image(data)
    except ValueError as error:
        raise ValueError(f"{samples.describe(i)} has no usable picture: {error}") from error
    frame = Frame.around(image, teacher.info.image_size)
    rng = keyed_rng(asked.seed, "mask prompts", samples.keys[i])
    try:
        instances = read_instances(members, image.width, image.height)
        prompts, masks = draw_prompts(rng, instances, frame, asked.masks_per_picture)
    except ValueError as error:
        raise ValueError(f"{samples.describe(i)} {error}") from error
    if not masks and teacher.info.kind == "sam":
        prompts = grid_prompts(frame, asked.masks_per_picture)
    return prompts, teacher.answer(image, prompts, masks) if len(prompts.kinds) else []
