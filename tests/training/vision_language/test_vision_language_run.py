"""Runs of visual instruction tuning: resumed bit for bit, shared, and what they leave behind.

Run: pytest tests/training/vision_language/test_vision_language_run.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from task_runs import Interrupted, read_metrics
from tiny_conversations import records, write_images, write_json
from toy_conversations import conversation_recipe, run, toy_conversations, train_in_turn, trained

from zoo.models.load import load_model
from zoo.training.parallel.launch import run_in_processes
from zoo.training.vision_language.run import build_vision_language_model_of

EMA = {"all": 0.9, "lora": None}
COMMON: dict[str, Any] = {"samples_seen": 12, "checkpoint_every": 3}
VARIANTS: dict[str, dict[str, Any]] = {
    "ddp": COMMON | {"accumulation": 2},
    "fsdp": COMMON
    | {"accumulation": 2, "parallel": "fsdp"}
    | {"activation_checkpointing": True, "channels_last": True},
}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("part", ["all", "lora"])
def test_an_interrupted_run_equals_an_undisturbed_one(part: Any, tmp_path: Path) -> None:
    recipe = conversation_recipe(tmp_path / "whole", samples_seen=16, ema_decay=EMA[part])
    recipe = trained(recipe, train=part)
    whole = load_file(run(recipe))
    parts = replace(recipe, output=tmp_path / "parts")
    with pytest.raises(Interrupted):
        run(parts, stop_after=3)
    again = load_file(run(parts, resume=True))
    assert read_metrics(parts.output) == read_metrics(recipe.output)
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_run_on_a_llava_file_resumes_exactly_and_leaves_out_what_is_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = write_images(tmp_path / "images")
    (images / "1.png").write_bytes(b"no picture")
    data = write_json(tmp_path / "data.json", records(9, text_only=3))
    recipe = conversation_recipe(tmp_path / "whole", data=data, samples_seen=20)
    recipe = trained(recipe, images=images, train="projector", random_image_position=True)
    run(recipe)
    assert "Conversation 'r1'" in caplog.text
    parts = replace(recipe, output=tmp_path / "parts")
    with pytest.raises(Interrupted):
        run(parts, stop_after=3)
    run(replace(parts, workers=1), resume=True)
    assert read_metrics(parts.output) == read_metrics(recipe.output)


class Runs(NamedTuple):
    one: list[dict[str, float]]
    two: dict[str, list[dict[str, float]]]
    folder: Path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("runs")
    one = train_in_turn(folder / "one", {"ddp": COMMON})
    two, other = run_in_processes(train_in_turn, 2, folder / "two", VARIANTS)
    assert all(not lines for lines in other.values())
    return Runs(one["ddp"], two, folder)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_two_processes_train_as_one_does(runs: Runs, variant: str) -> None:
    shared = runs.two[variant]
    assert len(shared) == len(runs.one) == 3
    for a, b in zip(runs.one, shared, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-4)
        assert b["gradient_norm"] == pytest.approx(a["gradient_norm"], rel=1e-3)
    alone = load_file(runs.folder / "one" / "ddp" / "weights.safetensors")
    whole = load_file(runs.folder / "two" / variant / "weights.safetensors")
    assert {k: v.shape for k, v in whole.items()} == {k: v.shape for k, v in alone.items()}


def test_the_run_folder_is_a_model_and_the_next_stage_starts_from_it(tmp_path: Path) -> None:
    first = trained(conversation_recipe(tmp_path / "one"), train="projector")
    weights = run(first)
    model = load_model("fastvlm-tiny", weights=first.output)
    assert model.preprocessing.image_size == 64
    assert (first.output / "tokenizer.json").exists()
    second = build_vision_language_model_of(conversation_recipe(tmp_path / "two", init=weights))
    written = load_file(weights)
    assert all(torch.equal(value, written[name]) for name, value in second.state_dict().items())
    batch = toy_conversations(0, 1, views=(1,))
    pixels = batch["images"][:, 0] / 255
    with torch.no_grad():
        a, b = model(batch["input_ids"], pixels), second.eval()(batch["input_ids"], pixels)
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_a_run_learns_the_colours(tmp_path: Path) -> None:
    recipe = conversation_recipe(
        tmp_path, samples_seen=96, batch_size=8, learning_rate=3e-3, checkpoint_every=12
    )
    run(recipe)
    losses = [line["loss"] for line in read_metrics(tmp_path)]
    assert losses[-1] < losses[0] / 3
