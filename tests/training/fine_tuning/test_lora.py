"""Adapters begin as nothing, train alone, resume exactly, and merge into ordinary weights.

Run: pytest tests/training/fine_tuning/test_lora.py
"""

from __future__ import annotations

import copy
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from task_runs import Interrupted, read_metrics, run
from torch import Tensor
from toy_batches import toy_recipe

from zoo.models.card import ImageTextCard
from zoo.models.checkpoint import read_checkpoint
from zoo.models.image_text_model import ImageTextModel
from zoo.models.load import load_model
from zoo.models.mobileclip.build import build_model as build_from_card
from zoo.models.registry import get_card_of
from zoo.training.fine_tuning.lora import merged_for_saving
from zoo.training.fine_tuning.prepare import learning_rate_scales, prepare_fine_tuning
from zoo.training.fine_tuning.settings import FineTuning
from zoo.training.recipes.recipe import Recipe
from zoo.training.run import build_model

pytest.importorskip("peft")

LORA = FineTuning(train="lora", lora_rank=4)


def adapted(fine_tuning: FineTuning = LORA) -> ImageTextModel:
    """A model with adapters that say something, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = load_model("mobileclip-tiny", weights=None, reparameterize=False)
        prepare_fine_tuning(model, fine_tuning)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.3)
            elif name.endswith("gamma"):
                parameter.fill_(1.0)  # a layer scale of 1e-5 would hide what a block does
    return model.double()


def features(model: ImageTextModel) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    dtype = model.logit_scale.dtype
    images = torch.rand(2, 3, 64, 64, generator=generator, dtype=torch.float64).to(dtype)
    tokens = model.tokenize(["a dog", "two cats"])
    with torch.no_grad():
        return {"image": model.encode_image(images), "text": model.encode_text(tokens)}


def recipe_in(output: Path) -> Recipe:
    return toy_recipe(output, samples_seen=48, checkpoint_every=2, fine_tuning=LORA)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("lora") / "run"
    run(recipe_in(output))
    return output


def test_before_the_first_step_the_model_is_as_it_was() -> None:
    model = load_model("mobileclip-tiny", weights=None, reparameterize=False)
    before = features(model)
    prepare_fine_tuning(model, LORA)
    assert all(torch.equal(value, before[name]) for name, value in features(model).items())


@pytest.mark.parametrize("towers", ["both", "image", "text"])
def test_only_adapters_of_the_chosen_towers_are_trained(towers: Any) -> None:
    model = adapted(FineTuning(train="lora", towers=towers))
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    chosen = ("image_encoder", "text_encoder") if towers == "both" else (f"{towers}_encoder",)
    assert trained and all("lora_" in name and name.startswith(chosen) for name in trained)
    model.train()
    assert not any(m.training for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d))


@pytest.mark.parametrize("name", ["mobileclip-s0", "mobileclip-b"])
def test_every_block_of_the_large_models_gets_adapters_that_have_a_learning_rate(name: str) -> None:
    card: ImageTextCard = get_card_of(ImageTextCard, name)
    with torch.device("meta"):
        model = build_from_card(card)
        blocks = {n for n, m in model.named_modules() if n.rpartition(".")[0].endswith("blocks")}
        prepare_fine_tuning(model, LORA)
    parts = {n.partition(".lora_A")[0] for n, _ in model.named_parameters() if ".lora_A" in n}
    assert {block for block in blocks if any(p.startswith(f"{block}.") for p in parts)} == blocks
    assert not any(".se." in part for part in parts)
    scales = learning_rate_scales(model, FineTuning(train="lora", layer_decay=0.9))
    assert scales.keys() == {n for n, _ in model.named_parameters()}


def test_merged_weights_compute_what_the_adapters_do() -> None:
    model = adapted()
    expected, plain = features(model), features(load_without_adapters(model))
    for name, value in plain.items():
        assert (value - expected[name]).abs().max() > 0.01 * value.abs().max(), "idle adapters"
    state = copy.deepcopy(model.state_dict())
    merged = merged_for_saving(model)
    for name, value in features(merged).items():
        assert (value - expected[name]).abs().max() <= 1e-6 * expected[name].abs().max()
    for name, value in features(merged.reparameterize()).items():
        assert (value - expected[name]).abs().max() <= 1e-6 * expected[name].abs().max()
    ordinary = load_model("mobileclip-tiny", weights=None, reparameterize=False).state_dict()
    assert {k: v.shape for k, v in merged.state_dict().items()} == {
        k: v.shape for k, v in ordinary.items()
    }
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def load_without_adapters(model: ImageTextModel) -> ImageTextModel:
    silent = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in silent.named_parameters():
            if "lora_B" in name:
                parameter.zero_()
    return silent


def test_a_model_without_adapters_is_saved_as_it_is() -> None:
    model = load_model("mobileclip-tiny", weights=None, reparameterize=False)
    assert merged_for_saving(model) is model


def test_a_run_writes_ordinary_weights_of_which_only_adapted_layers_moved(finished: Path) -> None:
    start = build_model(toy_recipe(finished, fine_tuning=None)).state_dict()
    state = read_checkpoint(finished / "weights.safetensors").state
    assert state.keys() == start.keys()
    moved = {key for key, value in state.items() if not torch.equal(value, start[key])}
    assert moved and all(key.endswith((".qkv.weight", ".proj.weight", ".fc1.weight", ".fc2.weight"))
                         for key in moved)  # fmt: skip
    load_model("mobileclip-tiny", weights=finished / "weights.safetensors")


def test_a_stopped_run_resumes_bit_for_bit(finished: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    with pytest.raises(Interrupted):
        run(recipe_in(output), stop_after=3)
    run(recipe_in(output), resume=True)
    assert read_metrics(output) == read_metrics(finished)
    names = ("weights.safetensors", "step-00000006/model.safetensors")
    for name in names:
        first, second = (read_checkpoint(folder / name).state for folder in (output, finished))
        assert all(torch.equal(first[key], second[key]) for key in first | second)
    shutil.rmtree(output)


def test_without_peft_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model("mobileclip-tiny", weights=None, reparameterize=False)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ValueError, match=r"needs peft; install zoo\[lora\]"):
        prepare_fine_tuning(model, LORA)
