"""What is trained of a vision-language model, how fast, and where it begins.

Run: pytest tests/training/vision_language/test_vision_language_prepare.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from realistic import relative_error
from toy_conversations import conversation_recipe, toy_conversations, toy_model, trained

from zoo.models.card import LanguageModelConfig
from zoo.models.checkpoint import save_weights
from zoo.models.fastvlm.language_model import (
    build_language_model,
    tiny_tokenizer,
    write_tokenizer,
)
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.load import load_model
from zoo.training.fine_tuning.lora import merged_for_saving
from zoo.training.optimization.optimizer import build_optimizer
from zoo.training.vision_language.prepare import prepare_vision_language, scales_of_parts
from zoo.training.vision_language.run import build_vision_language_model_of
from zoo.training.vision_language.settings import VisionLanguage
from zoo.training.vision_language.task import VisualInstructionTask

BATCH = toy_conversations(0, 4)


def one_step(model: VisionLanguageModel) -> set[str]:
    """Take a step of training; return the names in the state dict whose values have moved."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    task = VisualInstructionTask(model).train()
    optimizer = build_optimizer(task, conversation_recipe(Path("run"), weight_decay=0.1))
    batch = task.with_shares(BATCH)
    torch.stack(list(task.losses(task(batch), batch).values())).sum().backward()
    optimizer.step()
    return {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}


def parts_of(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def test_the_projector_alone_is_trained() -> None:
    moved = one_step(toy_model(VisionLanguage(train="projector")))
    assert parts_of(moved) == {"projector"} and len(moved) == 4


def test_the_tower_stays_where_the_language_model_is_trained() -> None:
    model = toy_model(VisionLanguage(train="language"))
    moved = one_step(model)
    assert parts_of(moved) == {"projector", "language_model"}
    assert moved == {n for n, _ in model.named_parameters() if not n.startswith("image_encoder.")}


def test_all_of_the_model_is_trained_but_the_statistics_of_batch_norm() -> None:
    model = toy_model()
    moved = one_step(model)
    assert {name for name, _ in model.named_parameters()} == moved


def test_the_statistics_of_batch_norm_move_when_asked() -> None:
    moved = one_step(toy_model(VisionLanguage(train_batch_norm=True)))
    assert any("running_mean" in name for name in moved)


def test_lora_trains_adapters_and_the_projector_and_is_merged_for_saving() -> None:
    model = toy_model(VisionLanguage(train="lora", lora_rank=2))
    plain = toy_model().state_dict()
    moved = one_step(model)
    assert all(".lora_" in n or n.startswith("projector.") for n in moved) and moved
    adapted = {n.partition(".lora_")[0] for n, _ in model.named_parameters() if ".lora_B" in n}
    assert len(adapted) == 4 * 7 and not any("lm_head" in name for name in adapted)
    pixels, merged = BATCH["images"][1:2, 0] / 255, merged_for_saving(model)
    assert merged.state_dict().keys() == plain.keys()
    layer = "language_model.model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(merged.state_dict()[layer], plain[layer])
    ids = toy_conversations(0, 1, views=(1,))["input_ids"]
    with torch.no_grad():
        expected, found = (m.eval()(ids, pixels) for m in (model, merged))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_the_tower_is_merged_without_another_output_or_kept_apart() -> None:
    apart = toy_model(VisionLanguage(tower="train-time")).eval()
    assert not any("reparam_conv" in name for name in apart.state_dict())
    pixels = BATCH["images"][:, 0] / 255
    with torch.no_grad():
        expected = apart.image_features(pixels)
        prepare_vision_language(apart, VisionLanguage())
        found = apart.image_features(pixels)
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert any("reparam_conv" in name for name in apart.state_dict())
    with pytest.raises(ValueError, match="branches are merged"):
        prepare_vision_language(apart, VisionLanguage(tower="train-time"))


def test_parts_have_learning_rates_of_their_own() -> None:
    settings = VisionLanguage(projector_learning_rate=2e-3, tower_learning_rate=2e-6)
    scales = scales_of_parts(toy_model(), settings, 2e-5)
    assert scales["projector.0.weight"] == pytest.approx(100)
    assert scales["image_encoder.stem.0.reparam_conv.weight"] == pytest.approx(0.1)
    assert scales["language_model.lm_head.weight"] == 1


def test_a_language_model_from_elsewhere_brings_its_size_and_tokenizer(tmp_path: Path) -> None:
    numbers = {"vocab_size": 512, "hidden_size": 32, "num_hidden_layers": 1, "head_dim": 16}
    sizes = {"num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 16}
    config = LanguageModelConfig(model_type="llama", numbers=numbers | sizes)
    language_model = build_language_model(config)
    language_model.save_pretrained(tmp_path / "llama")
    with pytest.raises(ValueError, match=r"llama' cannot be read as a causal language model"):
        begin(tmp_path, language_model=str(tmp_path / "llama"))
    write_tokenizer(tiny_tokenizer(), tmp_path / "llama")
    model = begin(tmp_path, language_model=str(tmp_path / "llama"))
    assert model.card.language.hidden_size == 32
    assert model.projector.get_parameter("2.weight").shape == (32, 32)
    state = model.language_model.state_dict()
    assert all(torch.equal(state[n], value) for n, value in language_model.state_dict().items())
    assert build_language_model(model.card.language).state_dict().keys() == state.keys()
    assert parts_of(one_step(model)) == {"image_encoder", "projector", "language_model"}


def test_a_tower_from_elsewhere_is_put_in_and_one_of_another_architecture_refused(
    tmp_path: Path,
) -> None:
    clip = load_model("mobileclip2-tiny", weights=None, reparameterize=False)
    save_weights(clip, tmp_path / "clip.safetensors")
    model = begin(tmp_path, image_encoder=tmp_path / "clip.safetensors", tower="train-time")
    given, taken = clip.image_encoder.state_dict(), model.image_encoder.state_dict()
    assert given.keys() - taken.keys() == {"head.fc.weight", "head.fc.bias"}
    assert all(torch.equal(given[name], value) for name, value in taken.items())
    other = load_model("mobileclip-tiny", weights=None, reparameterize=False)
    save_weights(other, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="does not fit fastvithd-tiny"):
        begin(tmp_path, image_encoder=tmp_path / "other.safetensors")


def test_views_are_those_of_the_settings_or_of_the_weights(tmp_path: Path) -> None:
    model = begin(tmp_path, aspect="crop", grids=((2, 1),))
    assert (model.preprocessing.image_size, model.preprocessing.aspect) == (64, "crop")
    assert model.views.grids == ((2, 1),)
    as_it_was = begin(tmp_path, image_size=None)
    assert as_it_was.preprocessing == load_model("fastvlm-tiny", weights=None).preprocessing
    with pytest.raises(ValueError, match="multiple of 64"):
        begin(tmp_path, image_size=100)


def test_multi_scale_features_are_trained_with_the_projector_and_loaded_again(
    tmp_path: Path,
) -> None:
    model = begin(tmp_path, multi_scale="depthwise", train="projector")
    assert model.projector.get_parameter("0.weight").shape[1] == 768 + 24 + 48 + 96 + 192
    assert parts_of(one_step(model)) == {"projector", "multi_scale"}
    save_weights(model, tmp_path / "weights.safetensors")
    again = load_model(
        "fastvlm-tiny", weights=tmp_path / "weights.safetensors", reparameterize=False
    )
    state = again.state_dict()
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    images = torch.rand(1, 3, 64, 64)
    model.eval()
    with torch.no_grad():
        found, expected = again.visual_tokens(images), model.visual_tokens(images)
    assert relative_error(found, expected) < 1e-6
    with pytest.raises(ValueError, match="init is published, but it must be None beside"):
        replace(trained(conversation_recipe(tmp_path), multi_scale="average"), init="published")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("train", "tower"),
        ("multi_scale", "mean"),
        ("tower", "merged"),
        ("aspect", "squash"),
        ("projector_learning_rate", 0.0),
        ("max_length", 0),
        ("lora_rank", 0),
        ("lora_dropout", 1.0),
    ],
)
def test_a_bad_setting_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"field {field} is"):
        VisionLanguage(**{field: value})


def test_settings_that_would_have_no_effect_are_refused() -> None:
    with pytest.raises(ValueError, match=r"tower_learning_rate is .* with train=lora"):
        VisionLanguage(train="lora", tower_learning_rate=1e-6)
    recipe = conversation_recipe(Path("run"))
    with pytest.raises(ValueError, match="vision_language is None, but it must be given"):
        replace(recipe, vision_language=None)
    with pytest.raises(ValueError, match="synchronize_batch_norm is True"):
        replace(recipe, synchronize_batch_norm=True)
    with pytest.raises(ValueError, match="left out of the contrastive task"):
        replace(recipe, task="contrastive")
    with pytest.raises(ValueError, match="init is published, but it must be None beside"):
        replace(trained(recipe, language_model="elsewhere"), init="published")


def begin(output: Path, **settings: Any) -> VisionLanguageModel:
    """The model that a run with these settings begins with."""
    return build_vision_language_model_of(trained(conversation_recipe(output), **settings))
