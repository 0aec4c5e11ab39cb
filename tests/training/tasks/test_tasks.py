"""Tasks add up the right pairs, run each tower once, and compute nothing whose weight is zero.

Run: pytest tests/training/tasks/test_tasks.py
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from toy_batches import ToyLoader, losses_of, toy_batch, toy_recipe

from zoo.models.image_text_model import ImageTextModel
from zoo.training.losses.contrastive import contrastive_loss
from zoo.training.losses.distillation import TeacherPair, distillation_loss
from zoo.training.tasks.build import build_task
from zoo.training.tasks.contrastive import ContrastiveTask
from zoo.training.tasks.reinforced import ReinforcedTask

SCALES = {"one": 30.0, "two": 20.0}


@pytest.fixture(scope="module")
def batch() -> dict[str, Tensor]:
    return toy_batch(seed=0, size=6)


def features(model: ImageTextModel, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    image = F.normalize(model.encode_image(batch["image"] / 255), dim=-1)
    captions = (batch["text"], batch["synthetic_text"])
    text, synthetic = (F.normalize(model.encode_text(tokens), dim=-1) for tokens in captions)
    return image, text, synthetic


def count_calls(module: nn.Module, shapes: list[int]) -> torch.utils.hooks.RemovableHandle:
    return module.register_forward_hook(lambda _, inputs, __: shapes.append(len(inputs[0])))


def test_the_contrastive_task_compares_pictures_with_ground_truth_captions(
    model: ImageTextModel, batch: dict[str, Tensor]
) -> None:
    image, text, _ = features(model, batch)
    expected = contrastive_loss(image, text, model.logit_scale.exp())
    losses = losses_of(ContrastiveTask(model), {"image": batch["image"], "text": batch["text"]})
    assert losses.keys() == {"contrastive_loss"}
    torch.testing.assert_close(losses["contrastive_loss"], expected)


@pytest.mark.parametrize("weight", [0.0, 0.75, 1.0])
def test_the_reinforced_task_sums_both_captions_with_their_weights(
    model: ImageTextModel, batch: dict[str, Tensor], weight: float
) -> None:
    image, text, synthetic = features(model, batch)
    scale = model.logit_scale.exp()
    expected = {"contrastive_loss": torch.zeros(()), "distillation_loss": torch.zeros(())}
    for tokens, kind in ((text, "teacher_text"), (synthetic, "teacher_synthetic")):
        teachers = [
            TeacherPair(batch[f"teacher_image.{name}"], batch[f"{kind}.{name}"], SCALES[name])
            for name in SCALES
        ]
        plain = contrastive_loss(image, tokens, scale)
        taught = distillation_loss(image, tokens, scale, teachers)
        expected["contrastive_loss"] = expected["contrastive_loss"] + (1 - weight) * plain
        expected["distillation_loss"] = expected["distillation_loss"] + weight * taught
    computed = {"contrastive_loss": weight < 1, "distillation_loss": weight > 0}
    task = ReinforcedTask(model, teacher_logit_scales=SCALES, distillation_weight=weight)
    losses = losses_of(task, batch)
    assert losses.keys() == {name for name, wanted in computed.items() if wanted}
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name])


def test_with_mixed_captions_there_is_one_pair(
    model: ImageTextModel, batch: dict[str, Tensor]
) -> None:
    image, text, _ = features(model, batch)
    scale = model.logit_scale.exp()
    teachers = [
        TeacherPair(batch[f"teacher_image.{name}"], batch[f"teacher_text.{name}"], SCALES[name])
        for name in SCALES
    ]
    task = ReinforcedTask(
        model, teacher_logit_scales=SCALES, distillation_weight=0.75, mixed_captions=True
    )
    losses = losses_of(task, {key: value for key, value in batch.items() if "synthetic" not in key})
    torch.testing.assert_close(
        losses["contrastive_loss"], 0.25 * contrastive_loss(image, text, scale)
    )
    torch.testing.assert_close(
        losses["distillation_loss"], 0.75 * distillation_loss(image, text, scale, teachers)
    )


def test_the_reinforced_task_runs_each_tower_once(
    model: ImageTextModel, batch: dict[str, Tensor]
) -> None:
    images: list[int] = []
    texts: list[int] = []
    handles = [count_calls(model.image_encoder, images), count_calls(model.text_encoder, texts)]
    ReinforcedTask(model, teacher_logit_scales=SCALES, distillation_weight=0.5)(batch)
    for handle in handles:
        handle.remove()
    assert (images, texts) == ([6], [12])


def test_every_parameter_gets_a_gradient(model: ImageTextModel, batch: dict[str, Tensor]) -> None:
    task = ReinforcedTask(model, teacher_logit_scales=SCALES, distillation_weight=0.75)
    model.zero_grad()
    torch.stack(list(losses_of(task, batch).values())).sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    model.zero_grad()
    assert not without


def test_weight_zero_needs_no_teacher_in_the_batch(
    model: ImageTextModel, batch: dict[str, Tensor]
) -> None:
    captions_only = {key: batch[key] for key in ("image", "text", "synthetic_text")}
    task = ReinforcedTask(model, teacher_logit_scales={}, distillation_weight=0.0)
    assert losses_of(task, captions_only).keys() == {"contrastive_loss"}


def test_a_batch_made_for_another_task_is_refused(
    model: ImageTextModel, batch: dict[str, Tensor]
) -> None:
    task = ReinforcedTask(model, teacher_logit_scales=SCALES, distillation_weight=1.0)
    with pytest.raises(ValueError, match=r"needs synthetic_text, teacher_image\.one"):
        losses_of(task, {"image": batch["image"], "text": batch["text"]})


def test_distillation_without_stored_teachers_is_refused(model: ImageTextModel) -> None:
    with pytest.raises(ValueError, match="stores no teacher"):
        ReinforcedTask(model, teacher_logit_scales={}, distillation_weight=1.0)


def test_the_logit_scale_is_capped_after_a_step(model: ImageTextModel) -> None:
    task, before = ContrastiveTask(model), model.logit_scale.item()
    with torch.no_grad():
        model.logit_scale.fill_(math.log(250))
    task.after_step()
    assert task.gauges()["logit_scale"] == pytest.approx(100)
    with torch.no_grad():
        model.logit_scale.fill_(before)
    task.after_step()
    assert model.logit_scale.item() == pytest.approx(before)


def test_a_recipe_and_the_stored_teachers_decide_the_task(model: ImageTextModel) -> None:
    recipe = toy_recipe(Path("run"), task="reinforced", distillation_weight=0.5)
    task = build_task(recipe, model, ToyLoader(recipe).teachers)
    assert isinstance(task, ReinforcedTask)
    assert (task.teacher_logit_scales, task.distillation_weight) == (SCALES, 0.5)
    assert isinstance(build_task(toy_recipe(Path("run")), model, {}), ContrastiveTask)
