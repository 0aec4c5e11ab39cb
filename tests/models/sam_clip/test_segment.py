"""Every pixel gets the label of its patch, from one pass of the tower.

.venv/bin/pytest tests/models/sam_clip/test_segment.py
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from colour_segmenter import COLOURS, colour_segmenter, stripes
from pictures import photo
from torch.nn import functional as F

from zoo.models.class_names import DEFAULT_TEMPLATES, average_templates, class_prompts
from zoo.models.sam_clip.frame import squashed
from zoo.models.sam_clip.sam_clip_model import SamClipModel
from zoo.models.sam_clip.segmentation import segment_by

SIDE = 64
"""`segmentation_image_size`: 20 pixels of the 160 are a patch's column. Patches on both sides of a
border see both colours, so that what lies a patch and a half from it is sure."""


@pytest.fixture(scope="module")
def model() -> SamClipModel:
    return colour_segmenter()


@pytest.fixture
def passes(model: SamClipModel) -> Iterator[list[None]]:
    """One entry for every pass of the tower."""
    seen: list[None] = []
    first = model.image_encoder.get_submodule("patch_embed")
    hook = first.register_forward_hook(lambda *_: seen.append(None))
    yield seen
    hook.remove()


def test_pixels_have_the_words_of_their_colours(model: SamClipModel) -> None:
    found = model.segment(stripes("red", "blue"), COLOURS)
    assert found.classes.shape == (80, 160) and found.classes.dtype == torch.int64
    assert found.logits.shape == (3, 80, 160) and found.logits.dtype == torch.float32
    assert (found.classes[:, :50] == 0).all() and (found.classes[:, 110:] == 2).all()
    other_order = model.segment(stripes("red", "blue"), ["blue", "red"])
    assert (other_order.classes[:, :50] == 1).all() and (other_order.classes[:, 110:] == 0).all()


def test_a_look_is_segmented_at_its_own_size(model: SamClipModel) -> None:
    """A tall picture: half of its square is padding, whatever is seen there."""
    look = model.look(stripes("green", "red", width=80, height=160))
    tokens = look.tokens.clone()
    tokens[:, :, 8:] = 0
    tokens[:, :, 8:, 2] = 5  # blue
    found = model.segment(replace(look, tokens=tokens), COLOURS)
    assert found.classes.shape == (160, 80)
    assert (found.classes[:, :25] == 1).all() and (found.classes[:, 55:] == 0).all()
    assert found.scores[2] < 0.3 < 0.6 < found.scores[:2].min()


def test_logits_are_enlarged_and_not_classes(model: SamClipModel) -> None:
    """Body and appendix of the paper differ, and so do their maps."""
    picture = photo(150, 101)
    square = squashed(picture, SIDE, model.preprocessing)[None]
    features = model.dense_features(square, normalize=True)
    words = model.encode_text(model.tokenize(class_prompts(COLOURS, DEFAULT_TEMPLATES)), True)
    coarse = model.logit_scale.exp() * (features @ words.T)[0].permute(2, 0, 1)
    found = model.segment(picture, COLOURS)
    by_logits = F.interpolate(coarse[None], (101, 150), mode="bilinear")[0]
    torch.testing.assert_close(found.logits, by_logits, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.classes, found.logits.argmax(dim=0))
    by_classes = F.interpolate(coarse.argmax(dim=0)[None, None].float(), (101, 150))[0, 0]
    assert 0.005 < (found.classes != by_classes).float().mean() < 0.3
    best = coarse.softmax(dim=0).amax(dim=(1, 2))
    torch.testing.assert_close(found.scores, best, rtol=1e-3, atol=0)


def test_templates_are_averaged(model: SamClipModel) -> None:
    templates = ("a photo of a {}.", "{}, seen by night", "the {} there")
    words = model.encode_text(model.tokenize(class_prompts(COLOURS, templates)))
    expected = segment_by(
        model, photo(60, 40), average_templates(words, 3), refine=False, background=None
    )
    found = model.segment(photo(60, 40), COLOURS, templates=templates)
    torch.testing.assert_close(found.logits, expected.logits)
    assert not torch.allclose(found.logits, model.segment(photo(60, 40), COLOURS).logits)


def test_the_background_is_what_no_label_is_probable_enough_for(model: SamClipModel) -> None:
    picture = photo(150, 101)
    found = model.segment(picture, COLOURS, background=0.6)
    best = found.logits.softmax(dim=0).max(dim=0)
    assert torch.equal(found.classes, best.indices.where(best.values >= 0.6, -1))
    assert set(found.classes.unique().tolist()) == {-1, 0, 1, 2}


@pytest.mark.parametrize("refine", [True, "regions"])
def test_words_and_prompts_read_one_pass(
    model: SamClipModel, passes: list[None], refine: Any
) -> None:
    found = model.segment(stripes("red", "blue"), COLOURS, refine=refine)
    assert len(passes) == 1
    look = model.look(stripes("red", "blue"))
    again = model.segment(look, COLOURS, refine=refine)
    model.predict_masks(look, points=[[3, 4]])
    assert len(passes) == 2
    assert torch.equal(found.classes, again.classes) and torch.equal(found.logits, again.logits)
    assert (found.logits[1] == -torch.inf).all() and found.logits[[0, 2]].isfinite().all()
    assert torch.equal(found.classes, found.logits.argmax(dim=0))


@pytest.mark.parametrize("refine", [True, "regions"])
def test_the_refined_background_is_what_lies_in_no_mask(model: SamClipModel, refine: Any) -> None:
    found = model.segment(stripes("red", "blue"), COLOURS, refine=refine, background=0.5)
    claimed = (found.logits > 0).any(dim=0)
    assert torch.equal(found.classes == -1, ~claimed)
    assert claimed.any() and not claimed.all()


def test_a_picture_of_background_alone_prompts_nothing(model: SamClipModel) -> None:
    for refine in (True, "regions"):
        found = model.segment(photo(60, 40), COLOURS, refine=refine, background=0.9999999)
        assert (found.classes == -1).all() and (found.logits == -torch.inf).all()


@pytest.mark.parametrize(
    ("labels", "given", "sentence"),
    [
        ("red", {}, "labels are the one text 'red'; give a list"),
        ([], {}, "class names must be one or more"),
        (COLOURS, {"refine": "points"}, "refine is 'points'; give False, True"),
        (COLOURS, {"background": 1.5}, "background=1.5 is no probability"),
        (["red"], {"background": 0.5}, "A background among one label has no meaning"),
        (COLOURS, {"templates": ["a photo"]}, "has no place for the name"),
    ],
)
def test_what_cannot_be_segmented_is_told_in_a_sentence(
    model: SamClipModel, labels: Any, given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        model.segment(photo(60, 40), labels, **given)
