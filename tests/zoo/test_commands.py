"""Every command does what it says on small real input, through the arguments a user types.

.venv/bin/pytest tests/zoo/test_commands.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from zoo import load_model
from zoo.cli import main
from zoo.models.card import Naming

TINY = ["--model", "mobileclip-tiny"]
RANDOM = [*TINY, "--weights", "none"]
SHORT_RUN = ["--batch-size", "16", "--samples-seen", "48", "--warmup-samples", "0"]


@pytest.fixture(autouse=True)
def inside_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def zoo(*arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0


def flags(name: str, values: list[str]) -> list[str]:
    return [word for value in values for word in (name, value)]


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_classify_ranks_every_label_as_the_model_does(
    photo: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = ["a dog", "a red circle", "three blue squares on the grass"]
    zoo("classify", photo, "--labels", ", ".join(labels), *TINY, "--weights", weights)
    title, *rows = capsys.readouterr().out.splitlines()
    assert title == str(photo)

    model = load_model("mobileclip-tiny", weights=weights)
    image = model.encode_image(model.preprocess(photo)[None], normalize=True)
    text = model.encode_text(model.tokenize(labels), normalize=True)
    shares = (model.logit_scale.exp() * image @ text.T).softmax(-1)[0].tolist()
    expected = sorted(zip(shares, labels, strict=True), reverse=True)
    assert [row.split() for row in rows] == [
        [f"{share:.1%}", *label.split()] for share, label in expected
    ]


def test_classify_names_each_photograph(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zoo("classify", photo, photo, "--labels", "a [red] dog,, a cat ,", *RANDOM)
    output = capsys.readouterr().out
    assert output.count(f"{photo}\n") == 2
    assert output.count("a [red] dog") == output.count("a cat") == 2


def test_embed_writes_the_features_that_the_model_gives(photo: Path, weights: Path) -> None:
    """Also: a missing folder is made, and the file says what is in it."""
    output = Path("new/folder/features.safetensors")
    texts = ["a dog", "a red circle"]
    zoo("embed", photo, *flags("--text", texts), "--output", output, *TINY, "--weights", weights)

    model = load_model("mobileclip-tiny", weights=weights)
    with torch.no_grad():
        image = model.encode_image(model.preprocess(photo)[None], normalize=True)
        text = model.encode_text(model.tokenize(texts), normalize=True)
    features = load_file(output)
    assert torch.equal(features["image_features"], image)
    assert torch.equal(features["text_features"], text)
    with safe_open(output, framework="pt") as file:
        assert file.metadata() == {
            "model": "mobileclip-tiny",
            "photos": str(photo),
            "texts": "a dog\na red circle",
        }


def test_a_text_longer_than_the_context_is_cut_and_ends_properly(weights: Path) -> None:
    """The context of 32 tokens holds 30 short words between its start and its end."""
    texts = ["dog " * count for count in (29, 30, 31, 500)]
    zoo("embed", *flags("--text", texts), "--output", "f.safetensors", *TINY, "--weights", weights)
    shorter, full, longer, longest = load_file("f.safetensors")["text_features"]
    assert torch.equal(full, longer)
    assert torch.equal(full, longest)
    assert not torch.equal(full, shorter)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("naming", ["zoo", "open_clip", "apple"])
def test_weights_come_back_from_every_naming_as_they_were(
    weights: Path, naming: Naming, suffix: str
) -> None:
    there = f"there{suffix}" if naming != "zoo" else "there.safetensors"
    zoo("convert", weights, there, *TINY, "--naming", naming)
    zoo("convert", there, "back.safetensors", *TINY)
    assert same(load_file("back.safetensors"), load_file(weights))


def test_reparameterized_weights_are_smaller_and_give_the_same_features(
    photo: Path, weights: Path
) -> None:
    zoo("convert", weights, "fused.safetensors", *TINY, "--reparameterize")
    zoo("embed", photo, "--output", "a.safetensors", *TINY, "--weights", weights)
    zoo("embed", photo, "--output", "b.safetensors", *TINY, "--weights", "fused.safetensors")
    assert len(load_file("fused.safetensors")) < len(load_file(weights))
    a, b = (load_file(name)["image_features"] for name in ("a.safetensors", "b.safetensors"))
    assert torch.dist(a, b) <= 1e-5


def test_the_tiny_world_is_the_same_bytes_for_the_same_seed() -> None:
    for folder, seed in (("a", 5), ("b", 5), ("c", 6)):
        zoo("data", "tiny-world", folder, "--scenes", 12, "--seed", seed)
    a, b, c = (Path(folder, "00000.tar").read_bytes() for folder in "abc")
    assert a == b
    assert a != c
    assert len(Path("a/classnames.txt").read_text().splitlines()) > 1


def test_shards_are_reinforced_trained_on_and_the_student_is_evaluated(
    weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zoo("data", "tiny-world", "world", "--scenes", 48, "--samples-per-shard", 24)
    teacher = f"t=zoo:mobileclip-tiny@{weights}"
    reinforce = ("reinforce", "world", "--teacher", teacher, "--captions", 2, "--augmentations", 2)
    zoo(*reinforce)
    assert len(list(Path("world").glob("*.reinforced.safetensors"))) == 2
    zoo(*reinforce)
    assert "kept 2 finished ones" in capsys.readouterr().out

    train = ("train", "tiny-reinforced", "--data", "world", "--output", "run", *SHORT_RUN)
    zoo(*train, "--log-every", 1)
    steps = json_lines(Path("run/metrics.jsonl"))
    assert [step["samples_seen"] for step in steps] == [16, 32, 48]
    assert "wrote run/weights.safetensors after 3 steps" in capsys.readouterr().out
    finished = load_file("run/weights.safetensors")
    zoo(*train, "--resume")
    assert same(load_file("run/weights.safetensors"), finished)

    trained = ("--weights", "run/weights.safetensors", "--name", "student")
    zoo("eval", "world", *TINY, *trained, "--class-names", "world/classnames.txt")
    classification, retrieval = json_lines(Path("results.jsonl"))
    assert classification["model"] == retrieval["model"] == "student"
    assert classification["weights_sha256"] == retrieval["weights_sha256"]
    assert classification["protocol"]["images"] == 48
    printed = dict(re.findall(r"^(\S+) +(\S+%)", capsys.readouterr().out, re.MULTILINE))
    for name, value in (classification["metrics"] | retrieval["metrics"]).items():
        assert printed[name] == f"{value:.2%}"


def test_training_shows_the_figures_of_the_validation_shards(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    validation = ("--validation", world, "--class-names", world / "classnames.txt")
    zoo("train", "tiny-plain", "--data", world, "--output", "run", *SHORT_RUN, *validation)
    last = json_lines(Path("run/metrics.jsonl"))[-1]
    assert f"acc1 {last['eval.acc1']:.3f}" in capsys.readouterr().out


def test_latency_is_measured_for_every_variant() -> None:
    zoo("bench", "latency", "mobileclip-tiny", "--quick", "--results", "latency.jsonl")
    rows = json_lines(Path("latency.jsonl"))
    variants = [(row["protocol"]["part"], row["protocol"]["variant"]) for row in rows]
    assert ("image", "train-time") in variants
    assert ("text", "reparameterized") in variants
    assert all(0 < row["metrics"]["p50_ms"] <= row["metrics"]["p90_ms"] for row in rows)


def test_export_leaves_both_towers_and_how_near_they_came(weights: Path) -> None:
    zoo("export", "mobileclip-tiny", "out", "--weights", weights)
    packages = sorted(path.name for path in Path("out").iterdir())
    assert packages == ["image_encoder.mlpackage", "text_encoder.mlpackage"]
    rows = json_lines(Path("results.jsonl"))
    assert [row["protocol"]["tower"] for row in rows] == ["image", "text"]
    assert all(row["metrics"]["cosine"] > 0.999 for row in rows)
