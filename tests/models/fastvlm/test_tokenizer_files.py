"""Tokenizers are read from the files of any version, without a question about remote code.

.venv/bin/pytest tests/models/fastvlm/test_tokenizer_files.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from zoo import load_model
from zoo.models.fastvlm.language_model import read_tokenizer, tiny_tokenizer, write_tokenizer

TEXT = "<|im_start|>user\nWhat colour is the red Square? don't été 你好<|im_end|>\n"


@pytest.fixture(scope="module")
def language_model() -> Any:
    torch.manual_seed(0)
    return load_model("fastvlm-tiny", weights=None).language_model


def write_as_published(folder: Path) -> None:
    """The files beside Apple's weights: vocabulary and merges apart, code in the configuration."""
    model = json.loads(tiny_tokenizer().backend_tokenizer.to_str())
    merges = (
        pair if isinstance(pair, str) else " ".join(pair) for pair in model["model"]["merges"]
    )
    added = {str(token.pop("id")): token for token in model["added_tokens"]}
    settings = {
        "added_tokens_decoder": added,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "Qwen2Tokenizer",
    }
    (folder / "vocab.json").write_text(json.dumps(model["model"]["vocab"]))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    code = {"AutoConfig": "llava_qwen.LlavaConfig"}
    config = json.dumps({"model_type": "llava_qwen2", "auto_map": code})
    (folder / "config.json").write_text(config)


def test_the_files_as_they_are_published_give_the_same_tokens(
    language_model: Any, tmp_path: Path
) -> None:
    write_as_published(tmp_path)
    tokenizer: Any = read_tokenizer(tmp_path, language_model)
    assert tokenizer(TEXT)["input_ids"] == tiny_tokenizer()(TEXT)["input_ids"]
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (2, 0)


def test_what_is_written_is_read_and_an_added_token_is_kept(
    language_model: Any, tmp_path: Path
) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    write_tokenizer(tokenizer, tmp_path)
    back: Any = read_tokenizer(tmp_path, language_model)
    assert back(TEXT)["input_ids"] == tokenizer(TEXT)["input_ids"]
    assert (back.eos_token, back.pad_token) == ("<|im_end|>", "<|endoftext|>")
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    # What only transformers 5 understands is not written.
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert not isinstance(settings.get("extra_special_tokens"), list)


def test_a_folder_without_a_tokenizer_has_none_and_a_damaged_one_is_refused(
    language_model: Any, tmp_path: Path
) -> None:
    assert read_tokenizer(tmp_path, language_model) is None
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match="cannot read the tokenizer"):
        read_tokenizer(tmp_path, language_model)
