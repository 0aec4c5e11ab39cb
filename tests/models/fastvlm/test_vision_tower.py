"""The image tower alone is read from every file that holds one.

.venv/bin/pytest tests/models/fastvlm/test_vision_tower.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fastvlm_folders import NAME, change_json, merged_model, write_folders
from realistic import make_realistic, relative_error
from torch import Tensor

from zoo import load_model
from zoo.models.card import VisionTowerCard
from zoo.models.checkpoint import Checkpoint, read_checkpoint
from zoo.models.fastvlm.assemble import assemble_vision_tower
from zoo.models.fastvlm.build import build_vision_tower
from zoo.models.fastvlm.vision_tower import VisionTower
from zoo.models.key_table import KeyTable
from zoo.models.mobileclip.keys import apple_mci_rules
from zoo.models.preprocess import OPENAI_MEAN
from zoo.models.registry import get_card, get_card_of

CLIP_WIDTH = 48


@pytest.fixture(scope="module")
def card() -> VisionTowerCard:
    """FastViTHD as small as that of fastvlm-tiny."""
    tiny = get_card(NAME)
    return replace(
        get_card_of(VisionTowerCard, "fastvithd"),
        image=tiny.image,
        preprocessing=tiny.preprocessing,
        embed_dim=CLIP_WIDTH,
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fastvlm")
    write_folders(folder)
    return folder


@pytest.fixture(scope="module")
def clip_tower(card: VisionTowerCard) -> VisionTower:
    torch.manual_seed(0)
    tower = build_vision_tower(card).eval()
    make_realistic(tower)
    tower.image_encoder.get_parameter("head.fc.bias").data.zero_()
    return tower


def features(tower: VisionTower) -> Tensor:
    torch.manual_seed(1)
    with torch.no_grad():
        found = tower.forward_features(torch.rand(1, 3, 128, 192))
    assert found.std() > 0.01
    return found


@pytest.mark.parametrize("naming", ["own", "apple", "transformers"])
def test_the_tower_of_a_fastvlm_has_its_features_and_no_head(
    card: VisionTowerCard, folders: Path, naming: str
) -> None:
    tower, form = assemble_vision_tower(card, read_checkpoint(folders / naming))
    torch.manual_seed(1)
    with torch.no_grad():
        expected = merged_model().image_features(torch.rand(1, 3, 128, 192))
    assert form == "merged"
    assert relative_error(features(tower), expected) < 1e-6
    with pytest.raises(ValueError, match="no CLIP head"):
        tower.encode_image(torch.rand(1, 3, 64, 64))


def test_the_image_size_is_that_of_apple_s_configuration(
    card: VisionTowerCard, folders: Path
) -> None:
    change_json(folders / "apple" / "config.json", mm_vision_tower="mobileclip_l_512")
    tower, _ = assemble_vision_tower(card, read_checkpoint(folders / "apple"))
    assert (tower.preprocessing.image_size, tower.preprocessing.aspect) == (512, "pad")


def apple_names(tower: VisionTower) -> dict[str, Tensor]:
    """The tower's weights as Apple names them, without a prefix; its head has no bias."""
    table = KeyTable(apple_mci_rules("image_encoder", "apple"))
    state = {key: value for key, value in tower.state_dict().items() if "head.fc.bias" not in key}
    entries = [table.export_entry(key, value) for key, value in state.items()]
    assert None not in entries
    return {entry[0].removeprefix("apple."): entry[1] for entry in entries if entry is not None}


def timm_names(tower: VisionTower) -> dict[str, Tensor]:
    state = tower.state_dict()
    return {key.removeprefix("image_encoder."): value for key, value in state.items()}


@pytest.mark.parametrize(
    ("prefix", "theirs"),
    [
        ("model.vision_tower.vision_tower.model.", "apple"),
        ("image_encoder.model.", "apple"),
        ("model.", "apple"),
        ("", "apple"),
        ("visual.trunk.", "timm"),
        ("image_encoder.", "timm"),
        ("", "timm"),
    ],
)
def test_the_clip_head_is_read_under_any_prefix(
    card: VisionTowerCard, clip_tower: VisionTower, prefix: str, theirs: str
) -> None:
    names = apple_names if theirs == "apple" else timm_names
    state = {f"{prefix}{key}": value for key, value in names(clip_tower).items()}
    tower, form = assemble_vision_tower(card, Checkpoint(source="made", state=state))
    image = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        embedding = tower.encode_image(image)
        assert torch.equal(embedding, clip_tower.encode_image(image))
    assert form == "train-time"
    assert embedding.shape == (1, CLIP_WIDTH)
    assert tower.preprocessing == card.preprocessing


def test_the_tower_of_a_mobileclip_is_normalised_as_it_was_trained(
    card: VisionTowerCard, clip_tower: VisionTower
) -> None:
    state = {f"visual.trunk.{key}": value for key, value in timm_names(clip_tower).items()}
    state["text.token_embedding.weight"] = torch.zeros(1)
    tower, _ = assemble_vision_tower(card, Checkpoint(source="made", state=state))
    assert tower.preprocessing.mean == OPENAI_MEAN
    assert tower.preprocessing.image_size == 256


def test_a_file_without_this_tower_is_refused(card: VisionTowerCard) -> None:
    other = load_model("mobileclip-tiny", weights=None, reparameterize=False).state_dict()
    with pytest.raises(ValueError, match="does not fit fastvithd"):
        assemble_vision_tower(card, Checkpoint(source="made", state=other))
    with pytest.raises(ValueError, match="hold no FastViTHD"):
        assemble_vision_tower(card, Checkpoint(source="made", state={"a": torch.zeros(1)}))
