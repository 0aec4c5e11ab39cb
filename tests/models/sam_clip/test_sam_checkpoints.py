"""A SAM's file in any naming gives the masks that transformers' SAM gives; relatives are refused.

.venv/bin/pytest tests/models/sam_clip/test_sam_checkpoints.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from realistic import relative_error
from safetensors.torch import load_file, save_file
from sam_files import NAME, transformers_sam, write_transformers_sam
from torch import Tensor

from zoo import load_model
from zoo.models.card import Naming, SamClipCard
from zoo.models.convert import convert_weights
from zoo.models.registry import get_card_of
from zoo.models.sam_clip.build import build_sam_clip
from zoo.models.sam_clip.keys import export_sam
from zoo.models.sam_clip.prompt_encoder import BOTTOM_RIGHT, NOT_A_POINT, TOP_LEFT
from zoo.models.sam_clip.prompts import Prompts
from zoo.models.sam_clip.sam_clip_model import SamClipModel

TOLERANCE = 1e-5
SIDE = 128
POINTS, LABELS = [[30.0, 40.0], [90.0, 17.0]], [1, 0]
BOX = [12.0, 20.0, 100.0, 77.0]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One SAM in every naming: transformers' folder, and what `zoo convert` makes of it."""
    place = tmp_path_factory.mktemp("sam")
    files = {"transformers": write_transformers_sam(place / "transformers")}
    targets: dict[Naming, str] = {"zoo": "zoo.safetensors", "sam": "sam.pt", "transformers": "back"}
    for naming, target in targets.items():
        convert_weights(files["transformers"], place / target, model=NAME, naming=naming)
        files[target] = place / target
    return files


@pytest.fixture(scope="module")
def model(files: dict[str, Path]) -> SamClipModel:
    return load_model(NAME, weights=files["sam.pt"], reparameterize=False)


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def mask_prompt() -> Tensor:
    return 4 * torch.randn(1, 1, SIDE // 2, SIDE // 2, generator=torch.Generator().manual_seed(1))


def fractions(pixels: list[list[float]]) -> Tensor:
    """SAM reads a pixel at its middle."""
    return ((torch.tensor(pixels) + 0.5) / SIDE)[None]


PROMPTS = {
    "a point": (
        {"input_points": POINTS[:1], "input_labels": LABELS[:1]},
        Prompts(fractions([*POINTS[:1], [-0.5, -0.5]]), torch.tensor([[1, NOT_A_POINT]])),
    ),
    "points": (
        {"input_points": POINTS, "input_labels": LABELS},
        Prompts(fractions([*POINTS, [-0.5, -0.5]]), torch.tensor([[1, 0, NOT_A_POINT]])),
    ),
    "a box": (
        {"input_boxes": BOX},
        Prompts(fractions([BOX[:2], BOX[2:]]), torch.tensor([[TOP_LEFT, BOTTOM_RIGHT]])),
    ),
    "points and a box": (
        {"input_points": POINTS, "input_labels": LABELS, "input_boxes": BOX},
        Prompts(
            fractions([*POINTS, BOX[:2], BOX[2:]]), torch.tensor([[1, 0, TOP_LEFT, BOTTOM_RIGHT]])
        ),
    ),
}


@torch.no_grad()
def theirs(image: Tensor, arguments: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """All four masks: transformers gives the first or the other three."""
    given = {name: torch.tensor(value)[None, None] for name, value in arguments.items()}
    if "input_masks" in given:
        given["input_masks"] = given["input_masks"][0, 0]
    answers = [transformers_sam()(image, **given, multimask_output=many) for many in (False, True)]
    masks = torch.cat([answer.pred_masks[0] for answer in answers], dim=1)
    return masks, torch.cat([answer.iou_scores[0] for answer in answers], dim=1)


@pytest.mark.parametrize("name", ["transformers", "zoo.safetensors", "sam.pt", "back"])
def test_a_file_gives_the_masks_of_transformers_sam(
    files: dict[str, Path], name: str, image: Tensor
) -> None:
    model = load_model(NAME, weights=files[name])
    arguments, prompts = PROMPTS["points and a box"]
    with torch.no_grad():
        embedding = model.mask_embedding(model.tokens(image))
        masks, scores = model.decode_masks(embedding, prompts)
        assert relative_error(embedding, transformers_sam().get_image_embeddings(image)) < TOLERANCE
    expected_masks, expected_scores = theirs(image, arguments)
    assert relative_error(masks, expected_masks) < TOLERANCE
    assert relative_error(scores, expected_scores) < TOLERANCE


@pytest.mark.parametrize("with_mask", [False, True])
@pytest.mark.parametrize("kind", PROMPTS)
def test_every_prompt_gives_the_masks_of_transformers_sam(
    model: SamClipModel, kind: str, with_mask: bool, image: Tensor, mask_prompt: Tensor
) -> None:
    arguments, prompts = PROMPTS[kind]
    if with_mask:
        arguments = {**arguments, "input_masks": mask_prompt.tolist()}
        prompts = prompts._replace(masks=mask_prompt)
    with torch.no_grad():
        masks, scores = model.decode_masks(model.mask_embedding(model.tokens(image)), prompts)
    expected_masks, expected_scores = theirs(image, arguments)
    assert relative_error(masks, expected_masks) < TOLERANCE
    assert relative_error(scores, expected_scores) < TOLERANCE


def test_transformers_loads_what_was_converted_without_a_key_left_over(
    files: dict[str, Path],
) -> None:
    from transformers import SamModel, SamProcessor

    answer: Any = SamModel.from_pretrained(files["back"], output_loading_info=True)
    loaded, report = answer
    assert not any(report.values()), report
    expected = transformers_sam().state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in loaded.state_dict().items())
    assert SamProcessor.from_pretrained(files["back"]).image_processor.pad_size.height == SIDE


def test_the_full_size_has_every_key_and_shape_of_transformers_and_the_original() -> None:
    from transformers import SamConfig, SamModel

    with torch.device("meta"):
        state = build_sam_clip(get_card_of(SamClipCard, "sam-clip-vit-b")).state_dict()
        expected = SamModel(SamConfig()).state_dict()
    assert shapes(export_sam(state, NAME, "transformers")) == shapes(expected)
    original = shapes(export_sam(state, NAME, "sam"))
    assert len(original) == 314  # of sam_vit_b_01ec64.pth
    assert original["image_encoder.blocks.11.attn.rel_pos_h"] == (127, 64)
    assert original["image_encoder.blocks.0.mlp.lin1.weight"] == (3072, 768)
    assert original["mask_decoder.output_hypernetworks_mlps.3.layers.2.weight"] == (32, 256)


def shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}


@pytest.mark.parametrize("use", ["encode_image", "dense_features", "encode_text"])
def test_a_sam_has_no_words_and_says_so(model: SamClipModel, use: str, image: Tensor) -> None:
    text = model.tokenize("a ring")
    with pytest.raises(ValueError, match=r"sam\.pt' holds SAM's parts alone.*sam-clip-stage1"):
        getattr(model, use)(text if use == "encode_text" else image)


def write(path: Path, state: dict[str, Tensor]) -> Path:
    save_file(state, path)
    return path


def a_tower_of(width: int) -> dict[str, Tensor]:
    return {
        "image_encoder.patch_embed.proj.weight": torch.zeros(width, 3, 8, 8),
        "image_encoder.blocks.0.mlp.lin1.weight": torch.zeros(1),
        "mask_decoder.iou_token.weight": torch.zeros(1),
    }


ZERO = torch.zeros(1)
REFUSED: dict[str, tuple[str, dict[str, Tensor], str]] = {
    "ViT-L": ("sam-clip-vit-b", a_tower_of(1024), "SAM ViT-L's tower.*1024 wide.* 768; give a SAM"),
    "ViT-H": ("sam-clip-vit-b", a_tower_of(1280), "SAM ViT-H's tower.*1280 wide.* 768; give a SAM"),
    "ViT-B": (NAME, a_tower_of(768), "SAM ViT-B's.*768 wide, but those of sam-clip-tiny are 128"),
    "SAM 2": (NAME, {"image_encoder.trunk.pos_embed": ZERO}, "is a SAM 2, which"),
    "Sam2Model": (NAME, {"vision_encoder.backbone.pos_embed": ZERO}, "is a SAM 2, which"),
    "MobileSAM": (NAME, {"image_encoder.layers.0.blocks.0.conv1.c.weight": ZERO}, "a MobileSAM"),
    "HQ-SAM": (
        NAME,
        a_tower_of(128) | {"mask_decoder.hf_token.weight": ZERO},
        "is an HQ-SAM, which has other parts than SAM",
    ),
    "another model": (NAME, {"visual.proj": ZERO}, r"\(visual.proj, …\) are neither a SAM's nor"),
    "a part": (NAME, a_tower_of(128), "does not fit sam-clip-tiny: .* keys missing"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_sam_vit_b_is_refused_in_a_sentence(tmp_path: Path, kind: str) -> None:
    name, state, sentence = REFUSED[kind]
    with pytest.raises(ValueError, match=sentence):
        load_model(name, weights=write(tmp_path / "file.safetensors", state))


def test_a_tower_alone_segments_nothing(files: dict[str, Path], tmp_path: Path) -> None:
    tower = {
        key.removeprefix("image_encoder."): value
        for key, value in load_file(files["zoo.safetensors"]).items()
        if key.startswith("image_encoder.")
    }
    with pytest.raises(ValueError, match="tower alone, without prompt encoder and mask decoder"):
        load_model(NAME, weights=write(tmp_path / "timm.safetensors", tower))


def test_sam_2_is_named_inside_of_its_training_checkpoint_too(tmp_path: Path) -> None:
    torch.save({"model": {"image_encoder.trunk.pos_embed": ZERO}}, tmp_path / "sam2.pt")
    with pytest.raises(ValueError, match="is a SAM 2, which"):
        load_model(NAME, weights=tmp_path / "sam2.pt")


@pytest.mark.parametrize("naming", ["open_clip", "apple"])
def test_namings_without_sam_are_refused(files: dict[str, Path], naming: Naming) -> None:
    with pytest.raises(ValueError, match=f"{naming} has no sam-clip-tiny; write it in zoo's"):
        convert_weights(files["sam.pt"], "nowhere.pt", model=NAME, naming=naming)


def test_the_sam_of_a_whole_sam_clip_is_what_it_was(tmp_path: Path) -> None:
    model: SamClipModel = load_model(NAME, weights=None, reparameterize=False)
    state = export_sam(model.state_dict(), NAME, "transformers")
    path = write(tmp_path / "sam.safetensors", state)
    loaded = load_model(NAME, weights=path, reparameterize=False).state_dict()
    del loaded["logit_scale"]
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.items())
    assert len(loaded) == len(state) - 1  # transformers names the positions twice
