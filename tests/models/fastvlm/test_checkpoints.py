"""FastVLM goes in and out in every naming unchanged; what does not fit is refused clearly.

.venv/bin/pytest tests/models/fastvlm/test_checkpoints.py
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fastvlm_folders import NAME, change_json, example, logits, merged_model, write_folders
from safetensors.torch import load_file, save_file
from torch import Tensor

from zoo import load_model
from zoo.models.card import LanguageModelConfig, VisionLanguageCard
from zoo.models.checkpoint import save_weights
from zoo.models.convert import convert_weights
from zoo.models.fastvlm.build import build_around
from zoo.models.fastvlm.folders import write_shards
from zoo.models.fastvlm.language_model import build_language_model, tiny_tokenizer
from zoo.models.fastvlm.views import Views
from zoo.models.registry import get_card_of

NAMINGS = ["own", "apple", "transformers"]
EXACT = 1e-5


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fastvlm")
    write_folders(folder)
    return folder


@pytest.fixture
def apple(folders: Path, tmp_path: Path) -> Path:
    """Apple's folder, to be changed."""
    return Path(shutil.copytree(folders / "apple", tmp_path / "apple"))


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("reparameterize", [False, True])
def test_every_naming_gives_the_same_logits(
    folders: Path, naming: str, reparameterize: bool
) -> None:
    model = load_model(NAME, weights=folders / naming, reparameterize=reparameterize)
    torch.manual_seed(1)
    inputs = example()
    expected = logits(merged_model(), inputs)
    assert (logits(model, inputs) - expected).abs().max() < EXACT
    assert not model.training
    assert model.tokenizer("hello")["input_ids"] == tiny_tokenizer()("hello")["input_ids"]


def test_apples_folder_comes_back_unchanged_from_zoo_s_naming(
    folders: Path, tmp_path: Path
) -> None:
    convert_weights(folders / "apple", tmp_path / "own", model=NAME)
    convert_weights(tmp_path / "own", tmp_path / "apple", model=NAME, naming="apple")
    given = load_file(folders / "apple" / "model.safetensors")
    assert same(load_file(tmp_path / "apple" / "model.safetensors"), given)
    configs = [json.loads((root / "apple/config.json").read_text()) for root in (folders, tmp_path)]
    assert configs[0] == configs[1]


def test_the_folder_of_transformers_differs_in_the_row_of_its_image_token_alone(
    folders: Path, tmp_path: Path
) -> None:
    convert_weights(folders / "transformers", tmp_path / "apple", model=NAME, naming="apple")
    given = load_file(folders / "apple" / "model.safetensors")
    back = load_file(tmp_path / "apple" / "model.safetensors")
    for key in ("model.embed_tokens.weight", "lm_head.weight"):
        assert back[key].shape[0] == 576
        back[key] = back[key][:512]
    assert same(back, given)


def test_a_vocabulary_with_room_for_the_image_token_is_not_lengthened(tmp_path: Path) -> None:
    model = other_model({"vocab_size": 640})
    save_weights(model, tmp_path / "weights.safetensors")
    convert_weights(tmp_path, tmp_path / "there", model=NAME, naming="transformers")
    convert_weights(tmp_path / "there", tmp_path / "back", model=NAME)
    assert same(load_file(tmp_path / "back" / "weights.safetensors"), merged_state(tmp_path))


def merged_state(folder: Path) -> dict[str, Tensor]:
    convert_weights(folder, folder / "apple", model=NAME, naming="apple")
    convert_weights(folder / "apple", folder / "merged", model=NAME)
    return load_file(folder / "merged" / "weights.safetensors")


def test_weights_keep_their_dtype_through_conversion_and_load_in_float32(
    apple: Path, tmp_path: Path
) -> None:
    state = load_file(apple / "model.safetensors")
    half = {
        key: value.bfloat16() if value.is_floating_point() else value
        for key, value in state.items()
    }
    save_file(half, apple / "model.safetensors")
    convert_weights(apple, tmp_path / "own", model=NAME)
    convert_weights(tmp_path / "own", tmp_path / "back", model=NAME, naming="apple")
    assert same(load_file(tmp_path / "back" / "model.safetensors"), half)
    model = load_model(NAME, weights=apple, dtype=torch.float32)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_rotary_frequencies_stay_precise_in_half_precision(folders: Path) -> None:
    model = load_model(NAME, weights=folders / "own", dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    exact = dict(merged_model().named_buffers())
    name = "language_model.model.rotary_emb.inv_freq"
    assert torch.equal(dict(model.named_buffers())[name], exact[name])


def test_int8_is_smaller_and_close(folders: Path) -> None:
    model = load_model(NAME, weights=folders / "apple", dtype=torch.int8)
    inputs = example()
    expected = logits(merged_model(), inputs)
    error = (logits(model, inputs) - expected).abs().max()
    assert 0 < error < 0.2 * expected.abs().max()


# --- what a folder says ----------------------------------------------------------------------


def test_sharded_weights_are_read_and_an_absent_shard_is_named(apple: Path) -> None:
    state = load_file(apple / "model.safetensors")
    (apple / "model.safetensors").unlink()
    write_shards(state, apple, shard_bytes=4_000_000)
    shards = sorted(apple.glob("model-*.safetensors"))
    assert len(shards) > 2
    assert max(path.stat().st_size for path in shards) < 4_100_000
    inputs = example()
    model = load_model(NAME, weights=apple)
    assert (logits(model, inputs) - logits(merged_model(), inputs)).abs().max() < EXACT
    shards[1].unlink()
    with pytest.raises(FileNotFoundError, match=shards[1].name):
        load_model(NAME, weights=apple)


def test_pickled_weights_without_code_are_read(apple: Path) -> None:
    torch.save(load_file(apple / "model.safetensors"), apple / "pytorch_model.bin")
    (apple / "model.safetensors").unlink()
    inputs = example()
    model = load_model(NAME, weights=apple)
    assert (logits(model, inputs) - logits(merged_model(), inputs)).abs().max() < EXACT


def test_a_lone_file_has_the_card_s_numbers(apple: Path, tmp_path: Path) -> None:
    lone = tmp_path / "alone" / "anything.safetensors"
    lone.parent.mkdir()
    shutil.copy(apple / "model.safetensors", lone)
    inputs = example()
    model = load_model(NAME, weights=lone)
    assert (logits(model, inputs) - logits(merged_model(), inputs)).abs().max() < EXACT


@pytest.mark.parametrize(
    ("said", "size", "aspect", "grids"),
    [
        ({"mm_vision_tower": "mobileclip_l_256"}, 256, "pad", ()),
        ({"image_aspect_ratio": None}, 192, "crop", ()),
        (
            {"image_aspect_ratio": "anyres", "image_grid_pinpoints": "[(384, 192), (384, 384)]"},
            192,
            "pad",
            ((2, 1), (2, 2)),
        ),
    ],
)
def test_size_aspect_and_tiles_are_those_of_the_configuration(
    apple: Path, said: dict[str, Any], size: int, aspect: str, grids: Any
) -> None:
    change_json(apple / "config.json", **said)
    views = load_model(NAME, weights=apple).views
    assert (views.preprocessing.image_size, views.preprocessing.aspect) == (size, aspect)
    assert views.grids == grids
    assert load_model(NAME, weights=apple, image_size=320).preprocessing.image_size == 320


def test_tiles_and_size_survive_every_naming_that_has_them(folders: Path, tmp_path: Path) -> None:
    model = load_model(NAME, weights=folders / "own", reparameterize=False, image_size=256)
    model.set_views(Views(preprocessing=model.preprocessing, grids=((2, 2), (1, 3))))
    save_weights(model, tmp_path / "weights.safetensors")
    convert_weights(tmp_path, tmp_path / "apple", model=NAME, naming="apple")
    for folder in (tmp_path, tmp_path / "apple"):
        assert load_model(NAME, weights=folder).views == model.views
    with pytest.raises(ValueError, match="AnyRes"):
        convert_weights(tmp_path, tmp_path / "there", model=NAME, naming="transformers")
    assert not (tmp_path / "there").exists()


# --- any language model ----------------------------------------------------------------------


def other_model(numbers: dict[str, Any], model_type: str = "qwen2") -> Any:
    """fastvlm-tiny with another language model."""
    card = get_card_of(VisionLanguageCard, NAME)
    language = LanguageModelConfig(
        model_type=model_type, numbers={**card.language.numbers, **numbers}
    )
    card = replace(card, language=language)
    torch.manual_seed(2)
    views = Views(preprocessing=card.preprocessing)
    return build_around(card, build_language_model(language), views, tiny_tokenizer()).eval()


@pytest.mark.parametrize(
    ("naming", "model_type", "numbers"),
    [
        ("zoo", "llama", {"hidden_size": 96, "vocab_size": 600}),
        ("apple", "qwen3", {"head_dim": 32, "vocab_size": 512}),
        ("transformers", "qwen2", {"tie_word_embeddings": True, "rope_theta": 1e4}),
        ("zoo", "qwen2", {"tie_word_embeddings": True, "vocab_size": 600}),
    ],
)
def test_the_language_model_is_the_checkpoint_s_own(
    naming: Any, model_type: str, numbers: dict[str, Any], tmp_path: Path
) -> None:
    model = other_model(numbers, model_type)
    save_weights(model, tmp_path / "weights.safetensors")
    convert_weights(tmp_path, tmp_path / "there", model=NAME, naming=naming)
    loaded = load_model(NAME, weights=tmp_path / "there")
    inputs = example()
    assert (logits(loaded, inputs) - logits(model, inputs)).abs().max() < EXACT
    assert loaded.card.language.model_type == model_type
    language = loaded.language_model
    is_tied = language.lm_head.weight is language.model.embed_tokens.weight
    assert is_tied == numbers.get("tie_word_embeddings", False)


def test_a_configuration_that_is_wrong_about_ties_and_vocabulary_is_not_believed(
    apple: Path,
) -> None:
    change_json(apple / "config.json", tie_word_embeddings=True, vocab_size=500)
    inputs = example()
    model = load_model(NAME, weights=apple)
    assert (logits(model, inputs) - logits(merged_model(), inputs)).abs().max() < EXACT


# --- refusals --------------------------------------------------------------------------------


def test_missing_unexpected_and_reshaped_keys_are_named(apple: Path) -> None:
    state = load_file(apple / "model.safetensors")
    del state["model.mm_projector.0.bias"]
    state["model.image_newline"] = torch.zeros(192)
    state["model.norm.weight"] = torch.ones(7)
    save_file(state, apple / "model.safetensors")
    with pytest.raises(ValueError, match="apple naming") as raised:
        load_model(NAME, weights=apple)
    for said in ("'projector.0.bias'", "image_newline", "shape (7,) instead of (192,)"):
        assert said in str(raised.value)


@pytest.mark.parametrize(
    "key", ["language_model.model.layers.0.self_attn.q_proj.scales", "mm_projector.0.weight"]
)
def test_an_export_to_mlx_is_told_apart(key: str, tmp_path: Path) -> None:
    save_file({key: torch.zeros(1)}, tmp_path / "model.safetensors")
    for name in (NAME, "fastvithd"):
        with pytest.raises(ValueError, match=r"MLX.*apple/FastVLM-0\.5B"):
            load_model(name, weights=tmp_path)


def test_keys_of_no_fastvlm_are_refused(tmp_path: Path) -> None:
    save_file({"conv.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="not those of a FastVLM"):
        load_model(NAME, weights=tmp_path)


def test_a_tower_that_zoo_does_not_have_is_refused(folders: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders / "transformers", tmp_path / "other"))
    change_json(folder / "config.json", vision_config={"architecture": "fastvit_mci4"})
    with pytest.raises(ValueError, match="fastvit_mci4"):
        load_model(NAME, weights=folder)


def test_a_tokenizer_larger_than_the_embedding_is_refused(apple: Path) -> None:
    tokenizer = json.loads((apple / "tokenizer.json").read_text())
    tokenizer["added_tokens"] += [
        {**tokenizer["added_tokens"][0], "id": 512, "content": "<|another|>"}
    ]
    (apple / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ValueError, match="513 entries"):
        load_model(NAME, weights=apple)


def test_folded_weights_cannot_be_written_in_a_naming_without_them(
    folders: Path, tmp_path: Path
) -> None:
    convert_weights(folders / "own", tmp_path / "folded", model=NAME, reparameterize=True)
    inputs = example()
    model = load_model(NAME, weights=tmp_path / "folded")
    assert (logits(model, inputs) - logits(merged_model(), inputs)).abs().max() < EXACT
    with pytest.raises(ValueError, match="folded"):
        convert_weights(tmp_path / "folded", tmp_path / "there", model=NAME, naming="apple")


def test_a_folder_that_is_there_is_not_overwritten(folders: Path) -> None:
    with pytest.raises(ValueError, match="there already"):
        convert_weights(folders / "own", folders / "apple", model=NAME, naming="apple")


def test_what_was_never_published_or_has_no_stage_is_said() -> None:
    with pytest.raises(ValueError, match="no published weights"):
        load_model(NAME)
    with pytest.raises(ValueError, match="stage=2"):
        load_model(NAME, weights=None, stage=2)
