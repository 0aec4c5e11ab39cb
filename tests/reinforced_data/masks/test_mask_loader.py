"""Batches of prompts and masks: what is stored, the same on any number of workers and ranks.

.venv/bin/pytest tests/reinforced_data/masks/test_mask_loader.py
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mask_shards import PROMPTS, SCENES, random_sam, scene_shards, truth
from PIL import Image
from torch import Tensor

from zoo.models.preprocess import open_image
from zoo.reinforced_data.masks.loader import MaskLoader
from zoo.reinforced_data.masks.reinforce import reinforce_masks
from zoo.reinforced_data.masks.sidecar import MaskSidecar, mask_sidecar_path
from zoo.reinforced_data.masks.square import square_pixels
from zoo.reinforced_data.shards.read import read_shard

Batch = Mapping[str, Tensor]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Scenes with a SAM's masks beside them, and the truth's in the folder `truth`."""
    paths = scene_shards(tmp_path_factory.mktemp("masked"))
    reinforce_masks(paths, teacher=random_sam(), masks_per_picture=PROMPTS)
    folder = paths[0].parent / "truth"
    reinforce_masks(paths, teacher=truth(), masks_per_picture=PROMPTS, output=folder)
    return paths


def loader(shards: list[Path], **options: Any) -> MaskLoader:
    settings: dict[str, Any] = {"batch_size": 2, "masks_per_image": 3, "image_size": 64} | options
    return MaskLoader(shards, **settings)


def equal(one: Batch, other: Batch) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_a_batch_has_the_keys_shapes_and_types_of_its_description(shards: list[Path]) -> None:
    batch = next(iter(loader(shards)))
    assert {key: (tuple(value.shape), value.dtype) for key, value in batch.items()} == {
        "mask_image": ((2, 3, 64, 64), torch.uint8),
        "mask_kind": ((2, 3), torch.int64),
        "mask_points": ((2, 3, 3, 2), torch.float32),
        "mask_labels": ((2, 3, 3), torch.int64),
        "mask_logits": ((2, 3, 3, 64, 64), torch.float16),
        "mask_iou": ((2, 3, 3), torch.float32),
        "mask_valid": ((2, 3, 3), torch.bool),
    }


def test_all_prompts_of_a_picture_come_with_their_masks_as_stored(shards: list[Path]) -> None:
    batch = next(iter(loader(shards, masks_per_image=PROMPTS, batch_size=SCENES)))
    unseen = set(range(SCENES))
    samples = [(path, i, one) for path in shards for i, one in enumerate(read_shard(path))]
    for place in range(SCENES):
        number, (path, i, _) = next(
            (number, sample)
            for number, sample in enumerate(samples)
            if np.array_equal(
                square_pixels(open_image(sample[2].image), 64).transpose(2, 0, 1),
                batch["mask_image"][place],
            )
        )
        unseen.remove(number)
        sidecar = MaskSidecar(mask_sidecar_path(path))
        stored = {sidecar.prompt(i, k).points.tobytes(): k for k in range(PROMPTS)}
        for row in range(PROMPTS):
            points = batch["mask_points"][place, row].numpy()
            prompt = sidecar.prompt(i, stored.pop(points.tobytes()))
            assert batch["mask_kind"][place, row] == prompt.kind
            assert batch["mask_labels"][place, row].tolist() == prompt.labels.tolist()
            there = 3 if prompt.kind == 0 else 1
            assert batch["mask_valid"][place, row].tolist() == [True] * there + [False] * (
                3 - there
            )
            assert batch["mask_iou"][place, row, :there].tolist() == prompt.iou.tolist()
            for mask, content in zip(batch["mask_logits"][place, row], prompt.masks, strict=False):
                logits = np.empty((64, 64), np.float16)
                sidecar.mask(content, logits)
                assert np.array_equal(mask, logits)
            assert not batch["mask_logits"][place, row, there:].any()
    assert not unseen


def test_a_picture_with_fewer_prompts_than_are_asked_for_shows_each_about_as_often(
    shards: list[Path],
) -> None:
    batch = next(iter(loader(shards, masks_per_image=2 * PROMPTS + 1)))
    for points in batch["mask_points"]:
        _, counts = np.unique(points.flatten(1).numpy(), axis=0, return_counts=True)
        assert sorted(counts) == [2] * (PROMPTS - 1) + [3]


def test_the_next_pass_shows_every_picture_with_other_prompts(shards: list[Path]) -> None:
    whole = loader(shards, batch_size=SCENES, masks_per_image=1)
    passes = [next(iter(whole)) for _ in range(2)]
    assert whole.epoch == 2
    seen = [
        {image.numpy().tobytes(): points for image, points in zip(*pair, strict=True)}
        for pair in ((one["mask_image"], one["mask_points"]) for one in passes)
    ]
    assert seen[0].keys() == seen[1].keys() and len(seen[0]) == SCENES
    assert any(not torch.equal(seen[0][key], seen[1][key]) for key in seen[0])


def test_the_truth_has_one_answer_to_every_prompt(shards: list[Path]) -> None:
    batch = next(iter(loader(shards, sidecars=shards[0].parent / "truth")))
    assert (batch["mask_valid"] == torch.tensor([True, False, False])).all()
    assert (batch["mask_iou"][..., 0] == 1).all()


def test_ranks_make_the_parts_of_the_batches_that_one_would_make(shards: list[Path]) -> None:
    one = loader(shards)
    ranks = [loader(shards, batch_size=1, rank=rank, world_size=2) for rank in range(2)]
    for batch, *parts in zip(one, *ranks, strict=True):
        assert equal(batch, {key: torch.cat([part[key] for part in parts]) for key in batch})


def test_workers_make_the_same_batches(shards: list[Path]) -> None:
    pairs = zip(loader(shards), loader(shards, num_workers=2), strict=True)
    assert all(equal(one, other) for one, other in pairs)


def test_a_state_leads_on_to_the_batch_behind_it_and_fits_its_own_data_alone(
    shards: list[Path],
) -> None:
    whole, stopped = loader(shards), loader(shards)
    for one in (whole, stopped):
        next(iter(one))
    resumed = loader(shards)
    resumed.load_state_dict(stopped.state_dict())
    assert equal(next(iter(resumed)), next(iter(whole)))
    for other in (
        loader(shards, seed=1),
        loader(shards, masks_per_image=2),
        loader(shards, sidecars=shards[0].parent / "truth"),
    ):
        with pytest.raises(ValueError, match="The loader's state was saved with"):
            other.load_state_dict(stopped.state_dict())


def test_what_is_missing_or_does_not_fit_is_named(shards: list[Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make it with `zoo reinforce masks`"):
        loader(shards, sidecars=tmp_path)
    reinforce_masks(shards[:1], teacher=truth(), masks_per_picture=1, output=tmp_path)
    mixed = mask_sidecar_path(shards[1])
    (tmp_path / mixed.name).write_bytes(mixed.read_bytes())
    with pytest.raises(ValueError, match="reinforce all shards alike"):
        loader(shards, sidecars=tmp_path)
    moved = tmp_path / "00000.tar"
    moved.write_bytes(shards[1].read_bytes())
    with pytest.raises(ValueError, match=r"was made of 4 samples .* has 3"):
        next(iter(loader([moved])))


def test_a_sample_that_has_changed_is_not_trained_on(shards: list[Path], tmp_path: Path) -> None:
    changed = tmp_path / shards[0].name
    content, caption = shards[0].read_bytes(), next(iter(read_shard(shards[0]))).captions[0]
    changed.write_bytes(content.replace(caption.encode(), caption[::-1].encode()))
    with pytest.raises(ValueError, match=r"Sample 'train_0_00000000' .* is not the one"):
        list(loader([changed], sidecars=shards[0].parent))


def test_pictures_are_rendered_into_the_upper_left_of_the_square() -> None:
    image = Image.new("RGB", (40, 10), (200, 10, 30))
    pixels = square_pixels(image, 64)
    assert (pixels[:16] == (200, 10, 30)).all() and (pixels[16:] == (124, 116, 104)).all()
