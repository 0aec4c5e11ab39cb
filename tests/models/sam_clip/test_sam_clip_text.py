"""The text tower of a SAM-CLIP is its CLIP teacher's: ours or any of open_clip's.

.venv/bin/pytest tests/models/sam_clip/test_sam_clip_text.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from realistic import make_realistic
from tiny_open_clip import KINDS, save_open_clip

from zoo import load_model
from zoo.models.card import OpenClipTextConfig
from zoo.models.checkpoint import save_weights
from zoo.models.sam_clip.start import starting_model
from zoo.models.sam_clip.text_tower import text_as_json, text_from_json, text_tokenizer

NAME = "sam-clip-tiny"
TEXTS = ["a red ring", "two crosses, one of them large"]


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_tower_of_open_clip_gives_open_clips_features(tmp_path: Path, kind: str) -> None:
    name = save_open_clip(tmp_path / kind, kind)
    peer: Any = open_clip.create_model(name)
    with torch.no_grad():
        peer.logit_scale.fill_(1.5)
    tokens = open_clip.get_tokenizer(name)(TEXTS)
    begun = starting_model(NAME, sam=None, text=f"open_clip:{name}")
    assert torch.equal(begun.tokenize(TEXTS), tokens)
    expected = peer.eval().encode_text(tokens, normalize=True)
    assert torch.allclose(begun.encode_text(tokens, normalize=True), expected, atol=1e-6)
    image = torch.randn(1, 3, 64, 64)
    assert begun.encode_image(image).shape == (1, KINDS[kind]["embed_dim"])


def test_a_saved_tower_of_open_clip_needs_its_folder_no_more(tmp_path: Path) -> None:
    folder = tmp_path / "resnet"
    name = save_open_clip(folder, "resnet")
    begun = starting_model(NAME, sam=None, text=f"open_clip:{name}")
    save_weights(begun, tmp_path / "weights.safetensors")
    folder.rename(tmp_path / "elsewhere")
    loaded = load_model(NAME, weights=tmp_path / "weights.safetensors")
    tokens = loaded.tokenize(TEXTS)
    assert tokens.shape == (2, 12)
    assert loaded.card == begun.card
    assert torch.equal(loaded.encode_text(tokens), begun.encode_text(tokens))
    assert isinstance(loaded.card.text, OpenClipTextConfig)
    assert loaded.card.text.quick_gelu


@pytest.mark.parametrize("teacher", ["mobileclip-tiny", NAME])
@torch.no_grad()
def test_a_tower_of_ours_is_the_teachers_folded_and_survives_its_file(
    tmp_path: Path, teacher: str
) -> None:
    original = load_model(teacher, weights=None, reparameterize=False)
    make_realistic(original)
    original.logit_scale.fill_(2.5)
    save_weights(original, tmp_path / "teacher.safetensors")
    begun = starting_model(NAME, sam=None, text=f"zoo:{teacher}@{tmp_path}/teacher.safetensors")
    assert begun.logit_scale.item() == 2.5
    tokens = original.tokenize(TEXTS)
    assert torch.equal(begun.tokenize(TEXTS), tokens)
    features = begun.encode_text(tokens)
    assert torch.allclose(features, original.encode_text(tokens), atol=1e-4)
    assert not any("running_mean" in key for key in begun.text_encoder.state_dict())
    save_weights(begun, tmp_path / "begun.safetensors")
    loaded = load_model(NAME, weights=tmp_path / "begun.safetensors")
    assert torch.equal(loaded.encode_text(tokens), features)


def test_a_teacher_without_text_tower_is_no_teacher(tmp_path: Path) -> None:
    path = tmp_path / "sam.safetensors"
    save_weights(starting_model(NAME, sam=None, text=None), path)
    with pytest.raises(ValueError, match=r"sam.safetensors' holds .* without a text tower"):
        starting_model(NAME, sam=None, text=f"zoo:{NAME}@{path}")


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("ViT-L-14", "'ViT-L-14' is not understood; write zoo:MODEL"),
        ("zoo:fastvithd", "fastvithd is an image tower alone, but an image-text model is needed"),
        ("open_clip:ViT-L-41@openai", "open_clip has no model 'ViT-L-41'; did you mean"),
        ("open_clip:ViT-L-14", "names no weights and would be random"),
        ("open_clip:local-dir:/no/folder", "open_clip cannot get local-dir:/no/folder"),
    ],
)
def test_a_text_tower_that_is_none_is_refused(spec: str, sentence: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        starting_model(NAME, sam=None, text=spec)


def test_texts_are_checked_as_by_every_tokenizer(tmp_path: Path) -> None:
    tokenize = text_tokenizer(OpenClipTextConfig(architecture="ViT-B-32", tower={}))
    assert tokenize("a ring", 16).shape == (1, 16)
    with pytest.raises(ValueError, match="list of texts is empty"):
        tokenize([], None)


@pytest.mark.parametrize("architecture", ["ViT-L-14", "ViT-B-16-SigLIP2", "coca_ViT-B-32"])
def test_a_configuration_goes_through_a_header(architecture: str) -> None:
    model_config: Any = open_clip.get_model_config(architecture)
    config = OpenClipTextConfig(architecture=architecture, tower=model_config["text_cfg"])
    assert text_from_json(text_as_json(config)) == config
