"""`zoo train` makes a SAM, then a SAM-CLIP of it in stages, and watches what it forgets.

Run: pytest tests/zoo/test_train_sam_clip.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from zoo import load_model
from zoo.cli import main
from zoo.models.checkpoint import save_weights
from zoo.models.sam_clip.load import load_sam_clip
from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.engine.reinforce import reinforce
from zoo.reinforced_data.engine.teachers import zoo_teacher
from zoo.reinforced_data.masks.reinforce import reinforce_masks
from zoo.reinforced_data.masks.teacher import SamTeacher, load_mask_teacher
from zoo.reinforced_data.shards.write import write_shards
from zoo.reinforced_data.tiny_world.samples import scene_samples
from zoo.reinforced_data.tiny_world.scene import class_names

SETTING = "--sam-clip."
RUN = [
    *("--model", "sam-clip-tiny", "--data", "shards", "--precision", "float32"),
    *("--batch-size", "2", "--samples-seen", "2", "--warmup-samples", "0", "--workers", "0"),
    *(f"{SETTING}masks-per-image", "2", f"{SETTING}image-sizes", "32", "64"),
]
MASKS = "--mask-validation=shards"
NOTHING = [f"{SETTING}sam", "None", f"{SETTING}text", "None"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP teacher, and shards with its embeddings and the true masks beside them."""
    folder = tmp_path_factory.mktemp("sam_clip")
    shards = write_shards(scene_samples(4, seed=0), folder / "shards", samples_per_shard=4)
    torch.manual_seed(0)
    clip = load_model("mobileclip-tiny", weights=None)
    save_weights(clip, folder / "clip.safetensors")
    teacher = zoo_teacher("clip", clip, pretrained="random")
    policy = AugmentationPolicy()
    reinforce(shards, teachers=[teacher], augmentations=2, captions=0, policy=policy)
    reinforce_masks(shards, teacher=load_mask_teacher("truth:sam-clip-tiny"), masks_per_picture=4)
    (folder / "classes.txt").write_text("\n".join(class_names()) + "\n")
    return folder


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def last_line(run: str) -> dict[str, float]:
    return json.loads(Path(run, "metrics.jsonl").read_text().splitlines()[-1])


def test_a_sam_is_trained_and_merged_with_a_clip_in_two_stages() -> None:
    assert _train("sam-clip-stage1", "sam", *NOTHING, f"{SETTING}train", "masks", MASKS) == 0
    assert 0 <= last_line("sam")["eval.mask_iou_truth"] <= 1
    sam = SamTeacher(load_sam_clip("sam-clip-tiny", weights="sam"), pretrained="sam")
    reinforce_masks("shards", teacher=sam, masks_per_picture=4, output=Path("answers"))
    parts = [f"{SETTING}sam", "sam/weights.safetensors"]
    parts += [f"{SETTING}text", "zoo:mobileclip-tiny@clip.safetensors"]
    words = ["--validation", "shards", "--class-names", "classes.txt"]
    assert _train("sam-clip-stage1", "one", *parts) == 0
    stored = [f"{SETTING}mask-data", "None", f"{SETTING}mask-sidecars", "answers"]
    small = [*stored, f"{SETTING}mask-batch-size", "2", "--init", "one/weights.safetensors"]
    assert _train("sam-clip-stage2", "two", *small, *words, MASKS) == 0
    line = last_line("two")
    assert line["clip_loss"] > 0 and line["mask_loss"] > 0
    assert {"eval.acc1_32", "eval.acc1_64", "eval.mask_iou_truth"} <= line.keys()
    one, two = (load_model("sam-clip-tiny", weights=run) for run in ("one", "two"))
    for name, moves in (("image_encoder", True), ("clip_head", True), ("text_encoder", False)):
        before, after = (model.get_submodule(name).state_dict() for model in (one, two))
        assert any(not torch.equal(after[key], before[key]) for key in before) == moves, name


def _train(recipe: str, output: str, *arguments: str) -> int:
    return main(["train", recipe, *RUN, "--output", output, *arguments])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([*NOTHING, f"{SETTING}image-sizes", "30"], "multiples of 8"),
        ([*NOTHING, "--teacher", "owl"], "no teacher 'owl' but clip"),
        ([*NOTHING, "--mask-validation", "nowhere"], "nowhere"),
        ([f"{SETTING}sam", "classes.txt", f"{SETTING}text", "None"], "classes.txt"),
        ([*NOTHING, f"{SETTING}train", "masks", "--validation", "shards"], "no words yet"),
        ([*NOTHING, f"{SETTING}train", "masks", f"{SETTING}mask-sidecars", "shards/no"], "no"),
    ],
)
def test_wrong_input_is_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train("sam-clip-stage1", "wrong", *arguments) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("zoo: ") and sentence in said[-1], said
