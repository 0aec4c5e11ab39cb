"""Prefix conditioning: the text tower is told whose words it reads, and the model stays ordinary.

Run: pytest tests/training/tasks/test_prefix.py
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from numpy_losses import clip_loss
from task_runs import parameters_without_gradient, read_metrics, run, run_with_interruption
from torch import Tensor
from toy_batches import losses_of, toy_batch, toy_recipe

from zoo.models.image_text_model import ImageTextModel
from zoo.models.load import load_model
from zoo.models.tokenizer import Tokenizer
from zoo.training.recipes.recipe import Recipe
from zoo.training.tasks.prefix import SYNTHETIC_PREFIX, PrefixTask, with_synthetic_prefix

SHORT: dict[str, Any] = {"samples_seen": 64, "checkpoint_every": 3, "learning_rate": 2e-3}


@pytest.fixture(scope="module")
def batch() -> dict[str, Tensor]:
    return toy_batch(seed=0, size=6)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """A run of 8 steps, done."""
    recipe = toy_recipe(tmp_path_factory.mktemp("whole"), task="prefix", **SHORT)
    run(recipe)
    return recipe


@pytest.mark.parametrize("vocab_size", [2048, 49408])
def test_no_text_contains_the_prefix_of_synthetic_captions(vocab_size: int) -> None:
    tokenize = Tokenizer(vocab_size=vocab_size)
    characters = [chr(i) for i in range(1, sys.maxunicode, 499) if not 0xD800 <= i < 0xE000]
    texts = [" ".join(characters[i : i + 8]) for i in range(0, len(characters), 8)]
    texts += ["ÿ", "þÿ", "\x7f\x80\xff", "Ã¿"]
    assert not (tokenize(texts) == SYNTHETIC_PREFIX).any()


def test_only_the_start_of_a_synthetic_caption_changes(batch: dict[str, Tensor]) -> None:
    text = batch["synthetic_text"]
    conditioned = with_synthetic_prefix(text)
    assert (conditioned[:, 0] == SYNTHETIC_PREFIX).all()
    assert torch.equal(conditioned[:, 1:], text[:, 1:])


def test_the_losses_are_those_of_clip_with_each_kind_of_caption(
    model: ImageTextModel, batch: dict[str, Tensor]
) -> None:
    task = PrefixTask(model).eval()
    with torch.no_grad():
        model.text_encoder.token_embedding.weight[SYNTHETIC_PREFIX] += 1.0  # pyright: ignore
        image = model.encode_image(model.preprocessing.normalize(batch["image"]), normalize=True)
        told = batch["synthetic_text"].clone()
        told[:, 0] = SYNTHETIC_PREFIX
        text, synthetic, untold = (
            model.encode_text(tokens, normalize=True)
            for tokens in (batch["text"], told, batch["synthetic_text"])
        )
        losses = losses_of(task, batch)
    scale = model.logit_scale.exp().item()
    assert losses["contrastive_loss"].item() == pytest.approx(clip_loss(image, text, scale))
    assert losses["synthetic_loss"].item() == pytest.approx(clip_loss(image, synthetic, scale))
    assert clip_loss(image, untold, scale) != pytest.approx(clip_loss(image, synthetic, scale))


def test_both_kinds_begin_alike(model: ImageTextModel, batch: dict[str, Tensor]) -> None:
    task = PrefixTask(model).eval()
    same = batch | {"synthetic_text": batch["text"]}
    with torch.no_grad():
        losses = losses_of(task, same)
    torch.testing.assert_close(losses["contrastive_loss"], losses["synthetic_loss"])


def test_every_parameter_and_each_prefix_gets_a_gradient(
    model: ImageTextModel, batch: dict[str, Tensor]
) -> None:
    task = PrefixTask(model)
    assert not parameters_without_gradient(task, batch)
    gradient = model.text_encoder.get_parameter("token_embedding.weight").grad
    assert gradient is not None
    start = int(batch["text"][0, 0])
    assert gradient[start].any()
    assert gradient[SYNTHETIC_PREFIX].any()


def test_a_run_learns_and_its_weights_are_an_ordinary_model(whole: Recipe) -> None:
    losses = [line["loss"] for line in read_metrics(whole.output)]
    assert losses[-1] < 0.5 * losses[0]
    trained = load_model("mobileclip-tiny", weights=whole.output / "weights.safetensors")
    assert trained.encode_text(trained.tokenize("a dog")).isfinite().all()


def test_an_interrupted_run_continues_exactly(whole: Recipe, tmp_path: Path) -> None:
    run_with_interruption(replace(whole, output=tmp_path / "run"), stop_after=5)
    assert read_metrics(tmp_path / "run") == read_metrics(whole.output)
