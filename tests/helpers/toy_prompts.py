"""A very small SAM-CLIP, and batches it can learn: pictures of a rectangle with embeddings, prompts
on it and masks.

Used by .venv/bin/pytest tests/training/sam_clip
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from task_runs import Interrupted
from torch import Tensor
from torch.nn import functional as F
from toy_batches import ALONE

from zoo.models.card import MaskDecoderConfig, SamClipCard, TextEncoderConfig
from zoo.models.registry import get_card_of
from zoo.models.sam_clip.build import build_sam_clip
from zoo.models.sam_clip.prompt_encoder import BOTTOM_RIGHT, FOREGROUND, NOT_A_POINT, TOP_LEFT
from zoo.models.sam_clip.sam_clip_model import SamClipModel
from zoo.reinforced_data.masks.prompts import BOX, BOX_AND_POINT, POINT
from zoo.reinforced_data.sidecars.header import TeacherInfo
from zoo.training.checkpoints.train_state import BatchLoader
from zoo.training.loop import train
from zoo.training.metrics.progress import Progress
from zoo.training.parallel.world import World, training_world
from zoo.training.recipes.recipe import Recipe
from zoo.training.sam_clip.prepare import prepare_sam_clip
from zoo.training.sam_clip.settings import SamClip
from zoo.training.sam_clip.two_streams import TwoStreams

DIM = 16
SIDE, GRID = 48, 24
"""Pixels of a picture with masks, and of the masks."""
PROMPTS = 4
TEACHER = TeacherInfo(
    name="clip", pretrained="toy", embed_dim=DIM, image_size=32, logit_scale=100.0, storage="fp32"
)


def toy_sam_clip(settings: SamClip | None = None) -> SamClipModel:
    """Return a model of two blocks of 32 channels, prepared for `settings`."""
    card = get_card_of(SamClipCard, "sam-clip-tiny")
    small: dict[str, Any] = {
        "img_size": SIDE,
        "embed_dim": 32,
        "depth": 2,
        "num_heads": 2,
        "neck_chans": 32,
    }
    small |= {"window_size": 4, "global_attn_indexes": (1,)}
    image = replace(card.image, overrides={**card.image.overrides, **small})
    torch.manual_seed(0)
    model = build_sam_clip(
        replace(
            card,
            image=image,
            width=32,
            embed_dim=DIM,
            mask_image_size=SIDE,
            decoder=MaskDecoderConfig(width=32, heads=2, mlp_width=32, iou_width=16),
            text=TextEncoderConfig(width=16, heads=2, blocks=("attention",), vocab_size=2048),
        )
    )
    prepare_sam_clip(model, settings or SamClip())
    return model


def pictures(seed: int, size: int, side: int = 32) -> dict[str, Tensor]:
    """Return `size` pictures with a rectangle each, and embeddings that its place decides."""
    images, corners = _rectangles(seed, size, side)
    directions = torch.randn(4, DIM, generator=torch.Generator().manual_seed(0))
    return {
        "image": images,
        f"teacher_image.{TEACHER.name}": F.normalize((corners - 0.5) @ directions, dim=1),
    }


def prompts(seed: int, size: int, *, truth: bool = False) -> dict[str, Tensor]:
    """Return `size` pictures with 4 prompts on their rectangles each, and the masks.

    A SAM's three answers to a point are the rectangle, one shifted and the whole picture, and its
    predicted IoU is below 1; the truth has one.
    """
    images, corners = _rectangles(seed, size, SIDE)
    kind = torch.arange(seed, seed + size * PROMPTS).view(size, PROMPTS) % 3
    points = torch.zeros(size, PROMPTS, 3, 2)
    labels = torch.full((size, PROMPTS, 3), NOT_A_POINT)
    middle = (corners[:, :2] + corners[:, 2:]) / 2
    for k, place, label in (
        (POINT, 0, FOREGROUND),
        (BOX, 0, TOP_LEFT),
        (BOX, 1, BOTTOM_RIGHT),
        (BOX_AND_POINT, 0, TOP_LEFT),
        (BOX_AND_POINT, 1, BOTTOM_RIGHT),
        (BOX_AND_POINT, 2, FOREGROUND),
    ):
        at = {FOREGROUND: middle, TOP_LEFT: corners[:, :2], BOTTOM_RIGHT: corners[:, 2:]}[label]
        points[..., place, :] = torch.where(
            (kind == k)[..., None], at[:, None], points[..., place, :]
        )
        labels[..., place] = torch.where(kind == k, label, labels[..., place])
    drawn = torch.zeros(size, GRID, GRID)
    for mask, box in zip(drawn, (corners * GRID).round().int().tolist(), strict=True):
        mask[box[1] : box[3], box[0] : box[2]] = 1
    masks = torch.stack([drawn, drawn.roll(3, dims=2), torch.ones_like(drawn)], dim=1) * 8 - 4
    valid = torch.ones(size, PROMPTS, 3, dtype=torch.bool)
    valid[..., 1:] = (kind == POINT)[..., None] & (not truth)
    iou = torch.ones(3) if truth else torch.tensor([0.9, 0.7, 0.3])
    return {
        "mask_image": images,
        "mask_points": points,
        "mask_labels": labels,
        "mask_kind": kind,
        "mask_logits": masks[:, None].expand(-1, PROMPTS, -1, -1, -1).half().contiguous(),
        "mask_iou": iou.expand(size, PROMPTS, 3).contiguous(),
        "mask_valid": valid,
    }


class ToyStream:
    """Endless different batches in passes of three, from any place on: this process's rows."""

    def __init__(self, make: Any, size: int, world: World = ALONE) -> None:
        self.make, self.size, self.world = make, size, world
        self.teachers: Mapping[str, TeacherInfo] = {TEACHER.name: TEACHER}
        self.position = 0

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        while True:
            batch = self.make(self.position, self.size)
            self.position += 1
            yield {k: v.chunk(self.world.size)[self.world.rank] for k, v in batch.items()}
            if self.position % 3 == 0:
                return

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = state["position"]


def toy_streams(recipe: Recipe, world: World = ALONE) -> BatchLoader:
    """Return the streams that the recipe's settings read, the sizes of pictures in turn."""
    settings = recipe.sam_clip
    assert settings is not None
    sizes = settings.image_sizes

    def sized(seed: int, size: int) -> dict[str, Tensor]:
        return pictures(seed, size, sizes[seed % len(sizes)])

    if settings.train == "masks":
        return ToyStream(lambda seed, size: prompts(seed, size, truth=True), 4, world)
    words = ToyStream(sized, recipe.batch_size, world)
    if settings.train == "head":
        return words
    return TwoStreams(words, ToyStream(prompts, settings.mask_batch_size, world))


def sam_clip_recipe(output: Path, train_what: str = "all", **changes: Any) -> Recipe:
    """Return a run of 4 steps of 4 pictures, 2 of them with masks; `changes` replace any field."""
    settings: Any = {"train": train_what, "image_sizes": (32, 48), "mask_batch_size": 2}
    fields: dict[str, Any] = {
        "model": "sam-clip-tiny",
        "task": "sam-clip",
        "data": "toy",
        "output": output,
        "batch_size": 4,
        "samples_seen": 16,
        "checkpoint_every": 2,
        "log_every": 1,
        "weight_decay": 0.0,
        "precision": "float32",
        "sam_clip": SamClip(**settings),
    }
    return Recipe(**(fields | changes))


def run(recipe: Recipe, *, resume: bool = False, stop_after: int | None = None) -> Path:
    """Train the very small model on toy streams; return the weights file.

    Raises `Interrupted` after step `stop_after`.
    """

    def stop(progress: Progress) -> None:
        if progress.step == stop_after:
            raise Interrupted

    return train(
        recipe,
        model=toy_sam_clip(recipe.sam_clip),
        loader=toy_streams(recipe),
        world=ALONE,
        resume=resume,
        on_progress=stop,
    ).weights


def train_in_turn(
    output: Path, variants: Mapping[str, tuple[str, Mapping[str, Any]]]
) -> dict[str, list[dict[str, float]]]:
    """Train every variant, what is trained and its changes, in the world that is there.

    Returns the metrics of every step by variant: only rank 0 has any.
    """
    lines: dict[str, list[dict[str, float]]] = {}
    with training_world("cpu") as world:
        for name, (part, changes) in variants.items():
            recipe = sam_clip_recipe(output / name, part, **changes)
            seen = lines.setdefault(name, [])
            train(
                recipe,
                model=toy_sam_clip(recipe.sam_clip),
                loader=toy_streams(recipe, world),
                world=world,
                on_progress=lambda progress, seen=seen: seen.append(progress.to_record()),
            )
    return lines


def _rectangles(seed: int, size: int, side: int) -> tuple[Tensor, Tensor]:
    """uint8 (size, 3, side, side), and left, top, right and bottom as fractions (size, 4)."""
    generator = torch.Generator().manual_seed(seed)
    start = 0.1 + 0.3 * torch.rand(size, 2, generator=generator)
    corners = torch.cat([start, start + 0.2 + 0.3 * torch.rand(size, 2, generator=generator)], 1)
    images = torch.full((size, 3, side, side), 60, dtype=torch.uint8)
    for image, box in zip(images, (corners * side).round().int().tolist(), strict=True):
        image[:, box[1] : box[3], box[0] : box[2]] = 220
    return images, corners
