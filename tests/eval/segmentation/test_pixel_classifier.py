"""Pixels get the classes that a plain reading of the protocols gives them.

.venv/bin/pytest tests/eval/segmentation/test_pixel_classifier.py
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from zoo.eval.segmentation import pixel_classifier
from zoo.eval.segmentation.benchmarks import get_segmentation_benchmark
from zoo.eval.segmentation.class_names import BACKGROUND_WORDS
from zoo.eval.segmentation.pixel_classifier import PixelClassifier
from zoo.eval.segmentation.protocols import (
    Protocol,
    make_queries,
    openai_templates,
    window_starts,
)
from zoo.eval.segmentation.refined_classifier import RefinedClassifier
from zoo.eval.zero_shot import classifier_weights
from zoo.models.load import load_image_text_model

TEMPLATES = ("a {}.",)
CLASSES = (("background",), ("circle", "disc"), ("square",), ("star",), ("heart", "love"))
NAMES = tuple(names[0] for names in CLASSES)
SQUARE = Protocol(name="square", image_size=64)
WINDOWS = Protocol(
    name="sliding",
    image_size=48,
    window=32,
    stride=16,
    synonyms=True,
    background="words",
    background_threshold=0.6,
    least_area=0.2,
    logit_scale=400.0,
)


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    pixels = np.random.default_rng(3).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((90, 57), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def model(picture: Image.Image) -> Any:
    """A random one whose patches point in all directions, so that they have several classes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: Any = load_image_text_model("sam-clip-tiny", weights=None)
    with torch.no_grad():
        mean = model.dense_features(model.preprocess(picture)[None]).mean(dim=(0, 1, 2))
        model.clip_head.mlp[-1].bias -= mean
    return model


def plain_windows(model: Any, pixels: Tensor, queries: Tensor, protocol: Protocol) -> Tensor:
    """Cosines (Q, H, W) of normalised pixels (1, 3, H, W), one window after another."""
    assert protocol.window and protocol.stride
    size, step = protocol.window, protocol.stride
    height, width = pixels.shape[2:]
    total, count = torch.zeros(len(queries), height, width), torch.zeros(height, width)
    for top in {*range(0, height - size, step), height - size}:
        for left in {*range(0, width - size, step), width - size}:
            crop = pixels[:, :, top : top + size, left : left + size]
            features = model.dense_features(crop, normalize=True)[0]
            maps = (features @ queries.T).permute(2, 0, 1)[None]
            large = F.interpolate(maps, (size, size), mode="bilinear")[0]
            total[:, top : top + size, left : left + size] += large
            count[top : top + size, left : left + size] += 1
    return total / count


@torch.no_grad()
def plain_classes(model: Any, picture: Image.Image, protocol: Protocol) -> Tensor:
    """SCLIP's procedure on all queries at once (`clip_segmentor.py`)."""
    assert protocol.logit_scale
    asked = make_queries(CLASSES, protocol)
    queries = classifier_weights(model, asked.texts, TEMPLATES)
    resized = picture.resize((76, 48), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1)
    cosines = plain_windows(model, model.preprocessing.normalize(pixels)[None], queries, protocol)
    size = picture.height, picture.width
    large = F.interpolate(cosines[None], size, mode="bilinear")[0]
    shares = (large * protocol.logit_scale).softmax(dim=0)
    of = torch.tensor(asked.classes)
    scores = torch.stack([shares[of == index].amax(dim=0) for index in range(len(CLASSES))])
    areas = torch.bincount(scores.argmax(dim=0).flatten(), minlength=len(CLASSES))[1:]
    scores[1:] *= (areas > protocol.least_area * areas.sum())[:, None, None]
    best, classes = scores.max(dim=0)
    return classes.masked_fill(best < protocol.background_threshold, 0)


def test_the_square_gives_what_the_models_own_segmentation_gives(
    model: Any, picture: Image.Image
) -> None:
    """Both squeeze the picture and enlarge logits; they were written apart."""
    classes = PixelClassifier(model, CLASSES, SQUARE, TEMPLATES)(picture)
    own = model.segment(picture, NAMES, templates=TEMPLATES).classes
    assert classes.dtype == torch.int64 and classes.shape == (57, 90)
    assert (classes == own).float().mean() > 0.999 and len(classes.unique()) > 1


@pytest.mark.parametrize("threshold", [0.0, 0.6])
@pytest.mark.parametrize("least_area", [0.0, 0.2])
def test_windows_follow_the_plain_procedure(
    threshold: float,
    least_area: float,
    model: Any,
    picture: Image.Image,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pixel_classifier, "_QUERIES_AT_ONCE", 5)  # 32 queries in uneven parts
    protocol = replace(WINDOWS, background_threshold=threshold, least_area=least_area)
    classes = PixelClassifier(model, CLASSES, protocol, TEMPLATES)(picture)
    expected = plain_classes(model, picture, protocol)
    assert len(expected.unique()) > 1
    assert (classes == expected).float().mean() > 0.999


def test_a_threshold_and_a_least_area_change_classes(model: Any, picture: Image.Image) -> None:
    """So that the comparison above compares something."""
    maps = [
        PixelClassifier(model, CLASSES, replace(WINDOWS, **changes), TEMPLATES)(picture)
        for changes in (
            {"background_threshold": 0.0, "least_area": 0.0},
            {"background_threshold": 0.6, "least_area": 0.0},
            {"background_threshold": 0.0, "least_area": 0.2},
        )
    ]
    assert (maps[0] != maps[1]).any() and (maps[0] != maps[2]).any()


def test_windows_cover_an_axis_and_end_with_it() -> None:
    assert window_starts(448, 224, 112) == [0, 112, 224]
    assert window_starts(336, 224, 112) == [0, 112]
    assert window_starts(300, 224, 112) == [0, 76]
    assert window_starts(224, 224, 112) == [0]


def test_each_background_asks_for_what_it_says() -> None:
    plain = make_queries(CLASSES, SQUARE)
    assert plain.texts == NAMES and plain.classes == (0, 1, 2, 3, 4)
    words = make_queries(CLASSES, replace(SQUARE, background="words"))
    assert words.texts == BACKGROUND_WORDS + NAMES[1:] and words.classes.count(0) == 26
    none = replace(SQUARE, background="none", background_threshold=0.5)
    assert make_queries(CLASSES, none).classes == (1, 2, 3, 4)
    synonyms = make_queries(CLASSES, replace(WINDOWS, background="name"))
    assert synonyms.texts == ("background", "circle", "disc", "square", "star", "heart", "love")
    assert synonyms.classes == (0, 1, 1, 2, 3, 4, 4)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"background": "none"}, "no pixel would ever be background"),
        ({"background_threshold": 0.5}, "no background class"),
        ({"background": "sky"}, "give words, name, none"),
        ({"background": "name", "background_threshold": 1.5}, "give a probability"),
        ({"window": 128}, "give at least 128 pixels"),
    ],
)
def test_protocols_that_mean_nothing_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(SQUARE, **changes)


def test_benchmarks_have_the_numbers_of_the_papers(model: Any) -> None:
    voc = get_segmentation_benchmark("voc21")
    square, sliding = voc.protocol("square", model), voc.protocol("sliding", model)
    assert (square.image_size, square.synonyms, square.background) == (64, False, "words")
    assert square.background_threshold == 0 and square.window is None
    assert (sliding.image_size, sliding.window, sliding.stride) == (336, 224, 112)
    assert (sliding.logit_scale, sliding.background_threshold, sliding.least_area) == (65, 0.1, 0.1)
    stuff = get_segmentation_benchmark("coco-stuff").protocol("sliding", model)
    assert (stuff.image_size, stuff.background, stuff.background_threshold) == (448, None, 0)
    with pytest.raises(ValueError, match="coco-stuff has no background class"):
        get_segmentation_benchmark("coco-stuff").protocol("square", model, background="words")
    templates = openai_templates()
    assert len(templates) == 80 and all(template.count("{}") == 1 for template in templates)


def test_refinement_gives_the_models_refined_classes(model: Any, picture: Image.Image) -> None:
    refined = RefinedClassifier(model, CLASSES, SQUARE, TEMPLATES, "regions")(picture)
    own = model.segment(picture, NAMES, templates=TEMPLATES, refine="regions").classes
    assert torch.equal(refined, own)
    ground = replace(SQUARE, background="none", background_threshold=0.3)
    classes = RefinedClassifier(model, CLASSES, ground, TEMPLATES, "points")(picture)
    asked = model.segment(
        picture, NAMES[1:], templates=TEMPLATES, refine=True, background=0.3
    ).classes
    assert torch.equal(classes, asked + 1)  # its background is -1, ours class 0
    with pytest.raises(ValueError, match="belongs to the protocol 'square'"):
        RefinedClassifier(model, CLASSES, WINDOWS, TEMPLATES, "points")
    plain = load_image_text_model("mobileclip-tiny", weights=None)
    with pytest.raises(ValueError, match="mobileclip-tiny has no mask decoder"):
        RefinedClassifier(plain, CLASSES, SQUARE, TEMPLATES, "points")
