"""Heads trained on frozen features show what these hold.

pytest tests/eval/segmentation/test_probe.py
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from zoo.cli import BAD_INPUT, main
from zoo.eval.results import read_results
from zoo.eval.segmentation.labelled_pictures import IGNORED, LabelledPicture, value_classes
from zoo.eval.segmentation.probe import ProbeResult, probe
from zoo.eval.segmentation.probe_features import feature_grid
from zoo.eval.segmentation.probe_training import ProbeSettings, Trainer
from zoo.models.load import load_image_text_model

COLOURS = ((200, 40, 40), (40, 200, 40), (40, 40, 200))
NAMES = ("red", "green", "blue")
QUICK = ProbeSettings(image_size=32, steps=30, batch_size=4, learning_rate=0.03)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return load_image_text_model("sam-clip-tiny", weights=None)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def patchwork(number: int) -> LabelledPicture:
    """40x32 pixels in four fields; the class of a pixel is its colour, red being commonest."""
    draw = np.random.default_rng(number)
    classes = draw.choice(3, size=(2, 2), p=(0.5, 0.25, 0.25)).repeat(16, axis=0).repeat(20, axis=1)
    colours = np.array(COLOURS)[classes] + draw.integers(-20, 20, size=(32, 40, 3))
    return LabelledPicture(
        name=str(number),
        picture=png(colours.astype(np.uint8)),
        labels=png(classes.astype(np.uint8)),
        classes_of=value_classes({0: 0, 1: 1, 2: 2, 255: IGNORED}, 255),
    )


TRAIN = [patchwork(number) for number in range(12)]
VALIDATION = [patchwork(number) for number in range(100, 104)]


@pytest.fixture(scope="module")
def probed(model, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ProbeResult]:
    folder = tmp_path_factory.mktemp("probes")

    def run(settings: ProbeSettings = QUICK, name: str = "plain", **options) -> ProbeResult:
        file = folder / f"{name}.safetensors"
        options = {"dataset": "patchwork", "output": file} | options
        return probe(model, TRAIN, VALIDATION, NAMES, settings, **options)

    return run


def state(result: ProbeResult) -> dict[str, Tensor]:
    return result.head.state_dict()


def same(one: ProbeResult, other: ProbeResult) -> bool:
    return all(torch.equal(value, state(other)[key]) for key, value in state(one).items())


def test_a_linear_head_reads_colours_from_random_features(probed):
    result = probed()
    assert result.metrics["pixel_accuracy"] > 0.85  # Always "red" would have about 0.5.
    assert result.metrics["miou"] > 0.7
    assert set(result.metrics) == {"miou", "pixel_accuracy", *(f"iou/{name}" for name in NAMES)}


def test_a_training_that_was_killed_goes_on_to_the_same_head(probed, monkeypatch):
    def die_at_twenty(progress):
        if progress.done == 20:
            raise KeyboardInterrupt

    # Kept at every step, not once a minute.
    monkeypatch.setattr("zoo.eval.segmentation.probe_state._SECONDS_BETWEEN_SAVES", 0.0)
    with pytest.raises(KeyboardInterrupt):
        probed(name="killed", progress=die_at_twenty)
    steps = []
    resumed = probed(name="killed", progress=lambda progress: steps.append(progress.done))
    assert len(steps) == QUICK.steps - 20
    assert same(resumed, probed())


def test_a_finished_head_is_only_scored_again(probed):
    def never(progress):
        raise AssertionError("a step was taken")

    first = probed()
    assert probed(progress=never).metrics == first.metrics


def test_a_head_of_another_training_is_not_gone_on_with(probed):
    probed()
    with pytest.raises(ValueError, match="trained in another way"):
        probed(replace(QUICK, seed=1))


def test_the_seed_decides_the_head(probed):
    one, other = (replace(QUICK, steps=1, seed=seed) for seed in (0, 1))
    assert not same(probed(one, name="seed 0"), probed(other, name="seed 1"))


def test_deeplab_trains_every_one_of_its_layers_on_the_features_it_is_told(probed, model):
    settings = replace(QUICK, head="deeplab", features="text", steps=1)
    trained = state(probed(settings, name="deeplab"))
    untrained = Trainer(model, TRAIN, settings, len(NAMES)).head
    assert trained["0.convs.1.0.weight"].shape[1] == model.card.embed_dim
    moved = [
        not torch.equal(parameter, trained[name])
        for name, parameter in untrained.named_parameters()
    ]
    assert all(moved)


def test_the_model_stays_as_it_was(model, probed):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    probed(replace(QUICK, steps=1), name="one step")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_ignored_pixels_teach_nothing(model, tmp_path: Path):
    blank = [replace(one, labels=png(np.full((32, 40), 255, dtype=np.uint8))) for one in TRAIN]
    settings = replace(QUICK, steps=1, weight_decay=0.0)
    with pytest.raises(ValueError, match="Every pixel is ignored"):
        probe(
            model, blank, blank, NAMES, settings, dataset="blank", output=tmp_path / "a.safetensors"
        )


def test_plain_models_and_transformers_have_grids_too(model):
    assert feature_grid(model, "tower")(torch.zeros(1, 3, 32, 32)).shape == (1, 128, 4, 4)
    plain = load_image_text_model("mobileclip-tiny", weights=None)
    size = plain.preprocessing.image_size
    assert feature_grid(plain, "tower")(torch.zeros(1, 3, size, size)).shape == (1, 256, 2, 2)
    with torch.device("meta"):
        transformer = load_image_text_model("mobileclip-b", weights=None)
        grid = feature_grid(transformer, "tower")(torch.zeros(2, 3, 224, 224))
    assert grid.shape == (2, 768, 14, 14)


def test_batches_of_one_and_no_steps_are_refused():
    with pytest.raises(ValueError, match="at least 2"):
        ProbeSettings(batch_size=1)
    with pytest.raises(ValueError, match="more than 0"):
        ProbeSettings(steps=0)


def test_the_command_probes_the_tiny_world(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    world = tmp_path / "world"
    assert main(["data", "tiny-world", str(world), "--scenes", "4"]) == 0
    line = f"eval probe tiny-world --data {world} --model sam-clip-tiny --weights none"
    assert main(line.split()) == BAD_INPUT
    assert "--training-data" in capsys.readouterr().err
    options = f"--training-data {world} --steps 2 --batch-size 2 --image-size 32 --device cpu"
    files = f"--output {tmp_path}/head.safetensors --results {tmp_path}/results.jsonl"
    assert main([*line.split(), *options.split(), *files.split()]) == 0
    (record,) = read_results(tmp_path / "results.jsonl")
    assert record["protocol"]["task"] == "head_probing"
    assert record["protocol"]["image_size"] == 32
