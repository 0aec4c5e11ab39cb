"""Both losses of a step: whole and in parts, of SAM's prompts, and what they move.

Run: pytest tests/training/sam_clip/test_sam_clip_task.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_batches import ALONE
from toy_conversations import gradients_of
from toy_prompts import TEACHER, pictures, prompts, sam_clip_recipe, toy_sam_clip

from zoo.models.sam_clip.sam_clip_model import Prompts
from zoo.reinforced_data.masks.prompts import BOX, BOX_AND_POINT, POINT
from zoo.training.accumulation import add_gradients
from zoo.training.optimization.optimizer import build_optimizer
from zoo.training.parallel.towers import Towers
from zoo.training.sam_clip.losses import iou_loss, mask_loss
from zoo.training.sam_clip.prepare import scales_of_sam_clip
from zoo.training.sam_clip.settings import SamClip
from zoo.training.sam_clip.task import SamClipTask, build_sam_clip_task

BATCH = pictures(0, 4) | prompts(0, 4)
PARTS: Any = ["head", "all", "masks"]


def task_of(train: Any = "all", **changes: Any) -> SamClipTask:
    settings = SamClip(train=train, **changes)
    teacher = TEACHER if settings.reads_embeddings else None
    return SamClipTask(toy_sam_clip(settings), settings, teacher=teacher).train()


def batch_of(task: SamClipTask) -> dict[str, Tensor]:
    if not task.settings.reads_embeddings:
        return prompts(0, 4, truth=True)
    return BATCH if task.settings.reads_masks else pictures(0, 4)


def step(
    task: SamClipTask, batch: dict[str, Tensor], parts: int = 1
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the gradient of every parameter that has one, and the losses."""
    task.zero_grad()
    towers = Towers(task, sam_clip_recipe(Path("run")), ALONE)
    losses = add_gradients(task, towers, batch, parts=parts, scaled=lambda loss: loss)
    return gradients_of(task), losses


@pytest.mark.parametrize("train", PARTS)
def test_parts_have_the_gradient_and_figures_of_the_whole_batch(train: str) -> None:
    task = task_of(train)
    batch = batch_of(task)
    whole, losses = step(task, batch)
    gauges = task.gauges()
    norm = torch.nn.utils.get_total_norm(list(whole.values()))
    for parts in (2, 4):
        in_parts, same = step(task, batch, parts)
        assert task.gauges() == pytest.approx(gauges, rel=1e-5)
        for name, loss in losses.items():
            torch.testing.assert_close(same[name], loss, rtol=1e-5, atol=1e-7)
        for name, gradient in whole.items():
            assert (in_parts[name] - gradient).norm() <= 1e-5 * norm, name


@pytest.mark.parametrize("train", PARTS)
def test_what_is_trained_has_a_gradient_and_the_rest_is_frozen(train: str) -> None:
    task = task_of(train)
    gradients, _ = step(task, batch_of(task))
    assert gradients.keys() == {n for n, p in task.named_parameters() if p.requires_grad}
    parts = {name.split(".")[1] for name in gradients}
    expected = {
        "head": {"clip_head"},
        "all": {"clip_head", "image_encoder", "mask_decoder"},
        "masks": {"prompt_encoder", "image_encoder", "mask_decoder"},
    }
    assert parts == expected[train]


def test_only_the_masks_move_sams_neck_and_both_streams_move_the_tower() -> None:
    task = task_of()
    neck, block = "model.image_encoder.neck.0.weight", "model.image_encoder.blocks.0.mlp.fc1.weight"
    whole, losses = step(task, BATCH)
    task.model.requires_grad_(True)
    words = task.with_shares(BATCH)
    task.zero_grad()
    task.losses(task(words), words)["clip_loss"].backward()
    of_words = gradients_of(task)
    assert neck not in of_words and of_words[block].norm() > 0
    assert (whole[block] - of_words[block]).norm() > 0 and whole[neck].norm() > 0
    assert set(losses) == {"clip_loss", "mask_loss", "iou_loss"}


def test_lambda_multiplies_the_masks_alone() -> None:
    _, ten = step(task_of(), BATCH)
    _, one = step(task_of(mask_weight=1.0), BATCH)
    assert ten["clip_loss"] == one["clip_loss"]
    for name in ("mask_loss", "iou_loss"):
        torch.testing.assert_close(ten[name], 10 * one[name])


def plain_losses(task: SamClipTask, batch: dict[str, Tensor], *, truth: bool) -> tuple[Any, Any]:
    """The mean over prompts of the mask and IoU losses, put to the model one by one."""
    model, of_masks, of_iou = task.model, [], []
    pixels = model.preprocessing.normalize(batch["mask_image"])
    for b, k in torch.cartesian_prod(torch.arange(4), torch.arange(4)).tolist():
        embedding = model.mask_embedding(model.tokens(pixels[b : b + 1]))
        kind = int(batch["mask_kind"][b, k])
        count = {POINT: 2, BOX: 2, BOX_AND_POINT: 3}[kind]
        asked = Prompts(
            batch["mask_points"][b, k, :count][None], batch["mask_labels"][b, k, :count][None]
        )
        masks, iou = (part[0] for part in model.decode_masks(embedding, asked))
        masks, iou = (masks[1:], iou[1:]) if kind == POINT else (masks[:1], iou[:1])
        stored, stored_iou = batch["mask_logits"][b, k].float(), batch["mask_iou"][b, k]
        teacher = [0] * len(masks) if truth else list(range(len(masks)))
        each = mask_loss(masks, stored[teacher])
        of_masks.append(each.min() if truth else each.mean())
        of_iou.append(iou_loss(iou, masks, stored[teacher], stored_iou[teacher]).mean())
    return torch.stack(of_masks).mean(), torch.stack(of_iou).mean()


@pytest.mark.parametrize("truth", [False, True])
def test_a_prompt_counts_as_put_to_sam_alone(truth: bool) -> None:
    task = task_of(mask_weight=1.0)
    batch = pictures(0, 4) | prompts(0, 4, truth=truth)
    _, losses = step(task, batch)
    with torch.no_grad():
        of_masks, of_iou = plain_losses(task, batch, truth=truth)
    torch.testing.assert_close(losses["mask_loss"], of_masks, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(losses["iou_loss"], of_iou, rtol=1e-4, atol=1e-5)


def test_masks_that_are_not_there_count_nothing() -> None:
    task = task_of()
    spoilt = {k: v.clone() for k, v in BATCH.items()}
    spoilt["mask_logits"][~BATCH["mask_valid"]] = 50.0
    spoilt["mask_iou"][~BATCH["mask_valid"]] = -7.0
    expected, losses = step(task, BATCH)
    found, same = step(task, spoilt)
    assert losses == same
    assert all(torch.equal(found[name], gradient) for name, gradient in expected.items())
    spoilt["mask_valid"][:, 1:] = False  # one prompt a picture is left
    left = {k: v[:, :1] if k in _BY_PROMPT else v for k, v in BATCH.items()}
    for name, loss in step(task, left)[1].items():
        torch.testing.assert_close(step(task, spoilt)[1][name], loss)


_BY_PROMPT = [k for k in BATCH if k.startswith("mask_") and k != "mask_image"]


def test_a_student_that_is_the_teacher_has_no_mask_loss() -> None:
    task = task_of()
    with torch.no_grad():
        answers = task(BATCH)
    batch = BATCH | {"mask_iou": BATCH["mask_iou"].clone(), "mask_logits": BATCH["mask_logits"]}
    logits = BATCH["mask_logits"].float()
    logits.flatten(0, 1)[answers["prompt"], answers["slot"]] = answers["masks"]
    batch["mask_iou"].flatten(0, 1)[answers["prompt"], answers["slot"]] = answers["iou"]
    _, losses = step(task, batch | {"mask_logits": logits})
    assert losses["mask_loss"] < 1e-9 and losses["iou_loss"] < 1e-9
    assert task.gauges()["mask_iou"] == pytest.approx(1)


def test_a_sam_is_asked_again_with_its_own_mask() -> None:
    task = task_of("masks")
    gradients, _ = step(task, prompts(0, 4, truth=True))
    assert gradients["model.prompt_encoder.mask_downscaling.0.weight"].norm() > 0
    answers = task(prompts(0, 4, truth=True))
    again = answers["prompt"] >= 16
    assert sorted(answers["prompt"][again].tolist()) == list(range(16, 32))


def test_tower_and_decoder_move_slower_and_positions_do_not_decay(tmp_path: Path) -> None:
    task = task_of()
    scales = scales_of_sam_clip(task.model, task.settings)
    parts = {name.partition(".")[0]: scale for name, scale in scales.items()}
    assert parts == {"image_encoder": 0.1, "mask_decoder": 0.1}
    assert not scales_of_sam_clip(task.model, replace(task.settings, train="masks"))
    recipe = sam_clip_recipe(tmp_path, weight_decay=0.1)
    groups = build_optimizer(task.model, recipe, scales).param_groups
    of = {id(p): (g["weight_decay"], g["lr_scale"]) for g in groups for p in g["params"]}
    named = dict(task.model.named_parameters())
    assert of[id(named["image_encoder.blocks.1.attn.rel_pos_h"])] == (0.0, 0.1)
    assert of[id(named["clip_head.blocks.0.attn.rel_pos_w"])] == (0.0, 1.0)
    assert of[id(named["clip_head.mlp.0.weight"])] == (0.1, 1.0)
    assert id(named["text_encoder.projection"]) not in of


def _noting(called: list[nn.Module]) -> Callable[[nn.Module, Any], None]:
    return lambda module, _: called.append(module)


def test_every_part_that_is_compiled_is_called() -> None:
    for train in PARTS:
        task = task_of(train)
        called: list[nn.Module] = []
        for part in task.compiled_parts():
            part.register_forward_pre_hook(_noting(called))
        task(batch_of(task))
        assert set(called) == set(task.compiled_parts())


def test_a_batch_or_teacher_that_does_not_fit_is_refused_in_a_sentence(tmp_path: Path) -> None:
    task = task_of()
    with pytest.raises(ValueError, match="needs mask_image, mask_points"):
        task.check_batch(pictures(0, 4))
    coarse = BATCH | {"mask_logits": BATCH["mask_logits"][..., ::2, ::2]}
    with pytest.raises(ValueError, match=r"masks of 12 pixels a side, but those of .* have 24"):
        task.check_batch(coarse)
    recipe = sam_clip_recipe(tmp_path)
    wide = replace(TEACHER, embed_dim=768)
    with pytest.raises(ValueError, match=r"has 768 numbers an embedding, but .* takes 16"):
        build_sam_clip_task(recipe, task.model, {"clip": wide})
    with pytest.raises(ValueError, match="name the teacher to learn from"):
        build_sam_clip_task(recipe, task.model, {"a": TEACHER, "b": TEACHER})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("train", "decoder"),
        ("image_sizes", ()),
        ("mask_batch_size", 0),
        ("mask_weight", 0.0),
        ("learning_rate_scale", -1.0),
    ],
)
def test_a_bad_setting_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"field {field} is"):
        SamClip(**{field: value})


def test_settings_and_fields_that_would_have_no_effect_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mask_data is .* with train=head"):
        SamClip(train="head", mask_data="masks")
    recipe = sam_clip_recipe(tmp_path)
    for changes, sentence in (
        ({"sam_clip": None}, "sam_clip is None, but it must be given"),
        ({"task": "contrastive"}, "left out of the contrastive task"),
        ({"synthetic_ratio": 0.5}, "synthetic_ratio is 0.5"),
        ({"accumulation": 4}, "a divisor of sam_clip.mask_batch_size, 2"),
        ({"init": Path("a"), "sam_clip": SamClip(sam=Path("b"))}, "None beside a sam or text"),
        ({"sam_clip": SamClip(train="masks"), "teacher": "clip"}, "teacher is clip"),
    ):
        with pytest.raises(ValueError, match=sentence):
            replace(recipe, **changes)
