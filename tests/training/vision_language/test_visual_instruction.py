"""The loss of visual instruction tuning, whole, in parts and frugal with logits.

Run: pytest tests/training/vision_language/test_visual_instruction.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from toy_batches import ALONE
from toy_conversations import conversation_recipe, gradients_of, toy_conversations, toy_model

from zoo.training.accumulation import add_gradients
from zoo.training.parallel.towers import Towers
from zoo.training.recipes.recipe import Recipe
from zoo.training.vision_language import task as task_module
from zoo.training.vision_language.settings import VisionLanguage
from zoo.training.vision_language.task import VisualInstructionTask

BATCH = toy_conversations(0, 8)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return conversation_recipe(tmp_path, precision="float32")


@pytest.fixture
def task() -> VisualInstructionTask:
    return VisualInstructionTask(toy_model()).train()


def step(
    task: VisualInstructionTask, recipe: Recipe, batch: dict[str, Tensor], parts: int = 1
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the gradient of every parameter, and the loss."""
    task.zero_grad()
    losses = add_gradients(
        task, Towers(task, recipe, ALONE), batch, parts=parts, scaled=lambda loss: loss
    )
    return gradients_of(task), losses["answer_loss"]


def test_the_loss_is_the_mean_over_all_answer_tokens_of_the_batch(
    task: VisualInstructionTask, recipe: Recipe
) -> None:
    images = torch.cat([v[:n] for v, n in zip(BATCH["images"], BATCH["views"], strict=True)])
    logits = task.model(BATCH["input_ids"], images / 255, BATCH["attention_mask"])
    expected = F.cross_entropy(logits[:, :-1].transpose(1, 2), BATCH["labels"][:, 1:])
    gradients, loss = step(task, recipe, BATCH)
    assert torch.allclose(loss, expected, rtol=1e-6) and loss > 1
    assert gradients.keys() == {name for name, _ in task.named_parameters()}
    tower = gradients["model.image_encoder.stem.0.reparam_conv.weight"]
    assert tower.norm() > 0


def test_parts_have_the_gradient_of_the_whole_batch(
    task: VisualInstructionTask, recipe: Recipe
) -> None:
    whole, loss = step(task, recipe, BATCH)
    norm = torch.nn.utils.get_total_norm(list(whole.values()))
    for parts in (2, 4, 8):  # of the last, some have no picture
        in_parts, same_loss = step(task, recipe, BATCH, parts)
        assert torch.allclose(same_loss, loss, rtol=1e-6)
        for name, gradient in whole.items():
            assert (in_parts[name] - gradient).norm() <= 1e-5 * norm, name


def test_parts_go_through_the_tower_once(task: VisualInstructionTask, recipe: Recipe) -> None:
    calls: list[int] = []
    task.model.projector.register_forward_hook(lambda *_: calls.append(1))
    step(task, recipe, BATCH, parts=4)
    assert len(calls) == 4


def test_few_logits_at_once_change_no_gradient(
    task: VisualInstructionTask, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, loss = step(task, recipe, BATCH)
    sizes: list[int] = []
    head = task.model.language_model.get_output_embeddings()
    head.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    monkeypatch.setattr(task_module, "_LOGITS_AT_ONCE", 5 * 512)
    frugal, same_loss = step(task, recipe, BATCH)
    assert max(sizes) == 5 and sum(sizes) >= int((BATCH["labels"] >= 0).sum())
    assert torch.allclose(loss, same_loss)
    for name, gradient in whole.items():
        torch.testing.assert_close(frugal[name], gradient, rtol=1e-4, atol=1e-6)


def test_padding_and_unreal_views_change_nothing(
    task: VisualInstructionTask, recipe: Recipe
) -> None:
    wider = {
        "input_ids": F.pad(BATCH["input_ids"], (0, 3), value=7),
        "labels": F.pad(BATCH["labels"], (0, 3), value=-100),
        "attention_mask": F.pad(BATCH["attention_mask"], (0, 3)),
        "images": F.pad(BATCH["images"], (0, 0, 0, 0, 0, 0, 0, 2), value=200),
        "views": BATCH["views"],
    }
    _, loss = step(task, recipe, BATCH)
    assert torch.equal(step(task, recipe, wider)[1], loss)


def test_a_batch_without_a_picture_gives_every_parameter_a_gradient(
    task: VisualInstructionTask, recipe: Recipe
) -> None:
    gradients, _ = step(task, recipe, toy_conversations(0, 2, views=(0,)))
    assert gradients.keys() == {name for name, _ in task.named_parameters()}
    parts = {name: g.norm() > 0 for name, g in gradients.items()}
    assert not any(moves for name, moves in parts.items() if "image_encoder" in name)
    assert parts["model.language_model.lm_head.weight"]


def test_the_picture_that_nobody_sees_moves_no_statistics() -> None:
    task = VisualInstructionTask(toy_model(VisionLanguage(train_batch_norm=True))).train()
    before = [buffer.clone() for buffer in task.buffers()]
    batch = toy_conversations(0, 2, views=(0,))
    task(batch | {"images": torch.zeros(2, 1, 3, 128, 128, dtype=torch.uint8)})
    assert all(torch.equal(a, b) for a, b in zip(before, task.buffers(), strict=True))


def test_every_part_that_is_compiled_is_called(task: VisualInstructionTask) -> None:
    called: list[object] = []
    for part in task.compiled_parts():
        part.register_forward_pre_hook(lambda module, _: called.append(module))
    task(BATCH)
    assert called and set(called) == set(task.compiled_parts())


def test_a_language_model_that_caps_its_logits_is_refused() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 16, "hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 8}
    heads = {"num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 8}
    config = transformers.AutoConfig.for_model("gemma2", **sizes, **heads)
    model = toy_model()
    model.language_model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with pytest.raises(ValueError, match="type gemma2 changes its logits"):
        VisualInstructionTask(model)
