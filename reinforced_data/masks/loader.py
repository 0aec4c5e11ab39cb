"""Training batches of pictures with prompts and the masks that a teacher answered.

A batch is a dict of tensors; B pictures, K prompts of each, S the square's side, h and w that of
the stored masks:

    mask_image    uint8   (B, 3, S, S)        SAM's square, padded with the mean colour, 0…255
    mask_kind     int64   (B, K)              0 point, 1 box, 2 box and point
    mask_points   float32 (B, K, 3, 2)        x and y as fractions of the square
    mask_labels   int64   (B, K, 3)           the prompt encoder's; NOT_A_POINT (-1) fills up
    mask_logits   float16 (B, K, 3, h, w)     the teacher's masks, 0 where there is none
    mask_iou      float32 (B, K, 3)           how well each covers the object, 0 where there is none
    mask_valid    bool    (B, K, 3)           which of the masks are there

A SAM answered a single point with three masks, all other prompts with one; the truth answers each
with one. Of a kind only the first `TOKENS` points belong to the prompt. A picture has another K of
its prompts in every pass; where it has fewer, they come again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from zoo.models.preprocess import open_image
from zoo.reinforced_data.loading.batch_stream import BatchStream, made_by_workers
from zoo.reinforced_data.loading.batches import Batch, Slice
from zoo.reinforced_data.loading.plan import Place, SamplePlan
from zoo.reinforced_data.masks.data_set import MaskDataSet, OpenMaskShard
from zoo.reinforced_data.masks.prompts import MOST_POINTS
from zoo.reinforced_data.masks.square import square_pixels
from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.sidecars.header import TeacherInfo

MASKS = 3
"""Of a prompt, at most."""

Row = dict[str, np.ndarray]


class MaskLoader(BatchStream):
    """Pictures, prompts and masks; see `BatchStream` for their order.

    A pass shows every picture of which there are prompts once, and is an epoch.
    """

    def __init__(
        self,
        shards: str | Path | Sequence[str | Path],
        *,
        batch_size: int,
        masks_per_image: int,
        image_size: int,
        sidecars: Path | None = None,
        seed: int = 0,
        num_workers: int = 0,
        pin_memory: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Count the pictures in the mask sidecars.

        Args:
            shards: local folder, file, glob or brace pattern, or several of these.
            batch_size: pictures of this rank's batches.
            masks_per_image: K, prompts of a picture.
            image_size: S, in pixels.
            sidecars: folder of the mask sidecars; beside the shards by default.
            seed: of the order and of the choice of prompts.
            num_workers: processes that prepare batches; 0 prepares them in this one.
            pin_memory: put batches where a CUDA device reads them without a copy by the CPU.
            rank: which part of every global batch is made here, 0 … world_size - 1.
            world_size: number of processes that train together.

        Raises FileNotFoundError for a sidecar that is not there, and ValueError for damaged or
        mismatched ones and for fewer pictures than a global batch.
        """
        assert 0 <= rank < world_size
        if masks_per_image < 1:
            raise ValueError(f"masks_per_image is {masks_per_image}; give at least 1.")
        data_set = MaskDataSet(shards, sidecars)
        self.teacher = data_set.teacher
        """Whose answers these are."""
        plan = data_set.plan(seed)
        super().__init__(Slice(batch_size, rank, world_size), len(plan))
        self.seed, self._fingerprint = seed, data_set.fingerprint()
        self._masks_per_image = masks_per_image
        pictures = MaskedPictures(data_set, masks_per_image, image_size, seed)
        self._batches = MaskBatches(plan, pictures, self._part)
        self._num_workers, self._pin_memory = num_workers, pin_memory

    @property
    def teachers(self) -> Mapping[str, TeacherInfo]:
        """None: no embeddings are distilled."""
        return {}

    def _start(self) -> Iterator[Batch | ValueError | OSError]:
        return made_by_workers(
            self._batches,
            itertools.count(self.position),
            num_workers=self._num_workers,
            pin_memory=self._pin_memory,
        )

    def _identity(self) -> dict[str, int | str]:
        return {
            "seed": self.seed,
            "global_batch_size": self._part.global_batch,
            "samples": self.samples,
            "masks_per_image": self._masks_per_image,
            "data": self._fingerprint,
        }


class MaskBatches(Dataset[Batch | ValueError | OSError]):
    """The batches by number; an error is returned, since torch would bury it in a trace."""

    def __init__(self, plan: SamplePlan, pictures: MaskedPictures, part: Slice) -> None:
        self._plan, self._pictures, self._part = plan, pictures, part

    def __getitem__(self, number: int) -> Batch | ValueError | OSError:
        start = self._part.start(number)
        try:
            places = self._plan.places(start, start + self._part.batch_size)
            rows = [self._pictures.read(place) for place in places]
        except (ValueError, OSError) as error:
            return error
        return {key: torch.from_numpy(np.stack([row[key] for row in rows])) for key in rows[0]}


class MaskedPictures:
    """A picture with K of its prompts, by its place in the order."""

    def __init__(
        self, data_set: MaskDataSet, masks_per_image: int, image_size: int, seed: int
    ) -> None:
        self._data_set, self._seed = data_set, seed
        self._masks_per_image, self._image_size = masks_per_image, image_size

    def read(self, place: Place) -> Row:
        """Return one row of a batch; ValueError, naming file and key, for damaged data."""
        shard = self._data_set.open(place.shard)
        i = int(shard.rows[place.sample])
        rng = keyed_rng(self._seed, "masks", place.epoch, place.shard, i)
        count = int(shard.sidecar.prompt_counts[i])
        chosen = np.resize(rng.permutation(count), self._masks_per_image)
        return self._picture(shard, i) | self._prompts(shard, i, chosen)

    def _picture(self, shard: OpenMaskShard, i: int) -> Row:
        if shard.index.digest(i) != shard.sidecar.digests[i].tobytes():
            raise ValueError(
                f"{shard.index.describe(i)} is not the one that '{shard.sidecar.path}' was made "
                "of: it has changed; delete the sidecar and reinforce the shard again."
            )
        try:
            image = open_image(shard.index.read(i).image)
        except ValueError as error:
            raise ValueError(f"{shard.index.describe(i)} cannot be read: {error}") from error
        pixels = square_pixels(image, self._image_size)
        return {"mask_image": np.ascontiguousarray(pixels.transpose(2, 0, 1))}

    def _prompts(self, shard: OpenMaskShard, i: int, chosen: np.ndarray) -> Row:
        count, side = len(chosen), self._data_set.teacher.mask_size
        row = {
            "mask_kind": np.zeros(count, np.int64),
            "mask_points": np.zeros((count, MOST_POINTS, 2), np.float32),
            "mask_labels": np.zeros((count, MOST_POINTS), np.int64),
            "mask_logits": np.zeros((count, MASKS, side, side), np.float16),
            "mask_iou": np.zeros((count, MASKS), np.float32),
            "mask_valid": np.zeros((count, MASKS), bool),
        }
        for k, number in enumerate(chosen.tolist()):
            prompt = shard.sidecar.prompt(i, number)
            there = len(prompt.masks)
            row["mask_kind"][k] = prompt.kind
            row["mask_points"][k], row["mask_labels"][k] = prompt.points, prompt.labels
            row["mask_iou"][k, :there], row["mask_valid"][k, :there] = prompt.iou, True
            for logits, content in zip(row["mask_logits"][k], prompt.masks, strict=False):
                shard.sidecar.mask(content, logits)
        return row
