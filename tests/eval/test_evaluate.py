"""Evaluating a model: a random one is at chance, its modes survive, faults are not figures.

.venv/bin/pytest tests/eval/test_evaluate.py
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.eval.datasets import EvalDataset
from zoo.eval.evaluate import evaluate, evaluation_record
from zoo.eval.features import Progress, image_features, text_features
from zoo.eval.results import append_result, read_results
from zoo.models.image_text_model import ImageTextModel
from zoo.models.load import load_model

CLASSES = ("airplane", "bird", "cat", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture(scope="module")
def model() -> ImageTextModel:
    torch.manual_seed(0)
    return load_model("mobileclip-tiny", weights=None, reparameterize=False)


def noise_images(count: int) -> list[Image.Image]:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)
    return [Image.fromarray(image) for image in pixels]


@pytest.fixture(scope="module")
def noise() -> EvalDataset:
    labels = tuple(index % len(CLASSES) for index in range(64))
    captions = tuple((f"a {CLASSES[label]}", f"picture {i}") for i, label in enumerate(labels))
    return EvalDataset(
        name="noise",
        images=noise_images(64),
        labels=labels,
        captions=captions,
        class_names=CLASSES,
    )


def test_a_random_model_on_noise_is_at_chance(model: ImageTextModel, noise: EvalDataset) -> None:
    classification, retrieval = evaluate(model, noise)
    assert classification.metrics["acc1"] == pytest.approx(1 / 8, abs=0.1)
    assert retrieval.metrics["image_retrieval_recall@1"] <= 0.1
    assert classification.predictions is not None and len(classification.predictions) == 64
    assert retrieval.protocol["captions"] == 128 and retrieval.protocol["distinct_captions"] == 72


def test_the_batch_size_does_not_change_the_features(model: ImageTextModel) -> None:
    images = noise_images(5)
    whole = image_features(model, images, 5, batch_size=5)
    assert torch.allclose(whole, image_features(model, images, 5, batch_size=2), atol=1e-6)
    assert torch.allclose(whole.norm(dim=-1), torch.ones(5))


def test_a_model_in_training_is_evaluated_in_eval_mode_and_gets_its_modes_back(
    model: ImageTextModel,
) -> None:
    images = noise_images(4)
    expected = image_features(model, images, 4)
    model.train()
    model.text_encoder.eval()
    modes = [part.training for part in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        assert torch.equal(image_features(model, images, 4), expected)
        assert [part.training for part in model.modules()] == modes
    finally:
        model.eval()
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


def test_progress_tells_how_far_how_fast_and_how_long(model: ImageTextModel) -> None:
    seen: list[Progress] = []
    text_features(model, ["a", "b", "c"], batch_size=2, progress=seen.append)
    assert [(one.done, one.total) for one in seen] == [(2, 3), (3, 3)]
    assert seen[0].rate > 0 and seen[0].remaining_seconds > 0 == seen[1].remaining_seconds


def test_a_set_that_gives_fewer_pictures_than_it_says_is_no_figure(model: ImageTextModel) -> None:
    with pytest.raises(ValueError, match="5 items were announced but 3 were read"):
        image_features(model, noise_images(3), 5)


def test_a_model_that_gives_nan_is_no_figure() -> None:
    broken = load_model("mobileclip-tiny", weights=None)
    with torch.no_grad():
        next(broken.text_encoder.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match=r"text features of 2 of 2 items are not finite"):
        text_features(broken, ["a", "b"])


def test_a_dataset_with_nothing_to_evaluate_is_one_sentence(
    model: ImageTextModel, noise: EvalDataset
) -> None:
    bare = EvalDataset(name="bare", images=noise_images(1))
    with pytest.raises(ValueError, match="bare has neither labels"):
        evaluate(model, bare)
    with pytest.raises(ValueError, match="noise has labels but no class names"):
        evaluate(model, dataclasses.replace(noise, class_names=None))


def test_the_record_of_an_evaluation_is_written_and_read_back(
    model: ImageTextModel, noise: EvalDataset, tmp_path
) -> None:
    record = evaluation_record(model, noise, evaluate(model, noise)[0], model_name="plain")
    append_result(tmp_path / "results.jsonl", record)
    (read,) = read_results(tmp_path / "results.jsonl")
    assert read == record
    assert (read["model"], read["dataset"]) == ("plain", "noise")
    assert read["protocol"]["task"] == "zeroshot_classification"
    assert len(read["weights_sha256"]) == 64
