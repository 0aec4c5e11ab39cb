"""A user's prompts give the masks of transformers' SAM and its processor, from one pass.

.venv/bin/pytest tests/models/sam_clip/test_predict_masks.py
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pictures import photo
from torch import Tensor
from transformers_sam import DECODER, SIDE, small_transformers_sam

from zoo.models.card import SamClipCard
from zoo.models.checkpoint import Checkpoint
from zoo.models.registry import get_card_of
from zoo.models.sam_clip.build import build_sam_clip
from zoo.models.sam_clip.keys import import_state
from zoo.models.sam_clip.sam_clip_model import SamClipModel

TINY = get_card_of(SamClipCard, "sam-clip-tiny")
SMALL = replace(
    TINY,
    image=replace(
        TINY.image,
        overrides={
            "img_size": SIDE,
            "patch_size": 16,
            "embed_dim": 32,
            "depth": 1,
            "num_heads": 2,
            "window_size": 3,
            "global_attn_indexes": (0,),
            "neck_chans": DECODER.width,
        },
    ),
    width=32,
    stride=16,
    decoder=DECODER,
    mask_image_size=SIDE,
)
PHOTO = photo(150, 101)
POINTS = [[[30.0, 40.0], [120.5, 60.0]], [[75.0, 99.0], [0.0, 0.0]], [[10.0, 10.0], [149.0, 3.0]]]
LABELS = [[1, 0], [1, 1], [1, 0]]
BOXES = [[5.0, 10.0, 90.0, 80.0], [0.0, 0.0, 150.0, 101.0], [60.0, 20.0, 61.0, 50.0]]


@pytest.fixture(scope="module")
def sam() -> Any:
    return small_transformers_sam()


@pytest.fixture(scope="module")
def model(sam: Any) -> SamClipModel:
    torch.manual_seed(0)
    model = build_sam_clip(SMALL).eval()
    state = import_state(SMALL, Checkpoint(source="here", state=sam.state_dict()))
    assert not model.load_state_dict(state, strict=False).unexpected_keys
    return model


@pytest.fixture(scope="module")
def processor() -> Any:
    from transformers import SamImageProcessor, SamProcessor

    square = {"height": SIDE, "width": SIDE}
    return SamProcessor(SamImageProcessor(size={"longest_edge": SIDE}, pad_size=square))


@pytest.fixture
def mask() -> Tensor:
    return 4 * torch.randn(3, 24, 24, generator=torch.Generator().manual_seed(1))


CASES: dict[str, dict[str, Any]] = {
    "points": {"points": POINTS, "point_labels": LABELS},
    "one point each": {"points": [[p[0]] for p in POINTS], "point_labels": [[1], [0], [1]]},
    "boxes": {"boxes": BOXES},
    "boxes and points": {"boxes": BOXES, "points": POINTS, "point_labels": LABELS},
}


@torch.no_grad()
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("multimask", [False, True])
def test_masks_of_a_wide_picture_are_transformers(
    model: SamClipModel, sam: Any, processor: Any, name: str, multimask: bool
) -> None:
    given = CASES[name]
    theirs = {f"input_{key.removeprefix('point_')}": [value] for key, value in given.items()}
    inputs = processor(PHOTO, return_tensors="pt", **theirs)
    inputs["pixel_values"] = _square(model)
    sizes = inputs.pop("original_sizes"), inputs.pop("reshaped_input_sizes")
    inputs = {key: v.float() if v.is_floating_point() else v for key, v in inputs.items()}
    expected = sam(**inputs, multimask_output=multimask)
    masks = processor.image_processor.post_process_masks(expected.pred_masks, *sizes)[0]

    prediction = model.predict_masks(PHOTO, **given, multimask=multimask)
    torch.testing.assert_close(
        prediction.logits, expected.pred_masks[0], rtol=0, atol=_bound(expected.pred_masks)
    )
    torch.testing.assert_close(
        prediction.scores, expected.iou_scores[0], rtol=0, atol=_bound(expected.iou_scores)
    )
    assert prediction.masks.shape == (3, 3 if multimask else 1, 101, 150)
    assert (prediction.masks != masks).float().mean() < 1e-4
    assert masks.any() and not masks.all()


@torch.no_grad()
@pytest.mark.parametrize("kind", ["mask alone", "box and mask"])
def test_a_mask_prompt_is_transformers(
    model: SamClipModel, sam: Any, processor: Any, mask: Tensor, kind: str
) -> None:
    """transformers takes one mask a picture."""
    boxes = BOXES[:1] if kind == "box and mask" else None
    given = {} if boxes is None else {"input_boxes": [boxes]}
    inputs = processor(PHOTO, return_tensors="pt", **given)
    expected = sam(
        pixel_values=_square(model),
        input_boxes=None if boxes is None else inputs["input_boxes"].float(),
        input_masks=mask[:1, None],
        multimask_output=False,
    ).pred_masks[0]
    prediction = model.predict_masks(PHOTO, boxes=boxes, mask=mask[0])
    torch.testing.assert_close(prediction.logits, expected, rtol=0, atol=_bound(expected))


def test_prompts_of_every_kind_together_are_those_apart(model: SamClipModel, mask: Tensor) -> None:
    given = {"points": np.array(POINTS), "point_labels": LABELS, "boxes": BOXES, "mask": mask}
    look = model.look(PHOTO)
    together = model.predict_masks(look, **given)
    repeated: dict[str, Any] = {
        key: np.concatenate([np.asarray(value)] * 20) for key, value in given.items()
    }
    many = model.predict_masks(look, **repeated)
    for row in range(3):
        alone = model.predict_masks(look, **{key: value[row] for key, value in given.items()})
        torch.testing.assert_close(alone.logits[0], together.logits[row])
        torch.testing.assert_close(many.logits[row + 57], together.logits[row])


def test_a_single_point_alone_has_three_masks(model: SamClipModel, mask: Tensor) -> None:
    look, point = model.look(PHOTO), [[30, 40]]
    assert model.predict_masks(look, points=point).masks.shape[1] == 3
    assert model.predict_masks(look, points=point, mask=mask[0]).masks.shape[1] == 1
    assert model.predict_masks(look, points=point, boxes=BOXES[0]).masks.shape[1] == 1
    assert model.predict_masks(look, points=POINTS[0]).masks.shape[1] == 1
    assert model.predict_masks(look, points=point, multimask=False).masks.shape[1] == 1
    inside = model.predict_masks(look, points=point, point_labels=[1])
    assert torch.equal(model.predict_masks(look, points=point).logits, inside.logits)


def test_a_look_saves_the_pass(model: SamClipModel, passes: list[None]) -> None:
    look = model.look(PHOTO)
    by_look = [model.predict_masks(look, boxes=box) for box in BOXES]
    assert len(passes) == 1
    assert torch.equal(by_look[0].masks, model.predict_masks(PHOTO, boxes=BOXES[0]).masks)
    assert len(passes) == 2


@pytest.fixture
def passes(model: SamClipModel) -> Iterator[list[None]]:
    """One entry for every pass of the tower."""
    seen: list[None] = []
    first = model.image_encoder.get_submodule("patch_embed")
    hook = first.register_forward_hook(lambda *_: seen.append(None))
    yield seen
    hook.remove()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "no prompt; give points, boxes or a mask"),
        ({"point_labels": [1]}, "point_labels without points"),
        ({"points": [3, 4]}, r"points have shape \(2,\)"),
        ({"points": [[3, 4, 5]]}, r"points have shape \(1, 1, 3\)"),
        ({"points": np.zeros((0, 2))}, r"points have shape \(1, 0, 2\)"),
        ({"points": [[3, 4], [5]]}, "points are not an array of numbers"),
        ({"points": [[float("nan"), 4]]}, "points hold values that are not finite"),
        ({"points": [[101, 140]]}, "x=101, y=140, outside of the picture of 150x101"),
        ({"boxes": [0, 0, 152, 50]}, "x=152, y=50, outside of the picture"),
        ({"boxes": [50, 0, 20, 50]}, r"box \[50.0, 0.0, 20.0, 50.0\] ends before it begins"),
        ({"boxes": [[1, 2]]}, r"boxes have shape \(1, 2\)"),
        ({"points": [[1, 2]], "point_labels": [2]}, r"point_labels hold \[2.0\]"),
        ({"points": [[1, 2]], "point_labels": [1, 0]}, "one label for every point"),
        ({"points": [[1, 2]], "boxes": BOXES}, "of 1 and 3 prompts"),
        ({"mask": np.zeros((101, 150))}, r"mask has shape \(1, 101, 150\); give logits \(24, 24\)"),
    ],
)
def test_a_prompt_that_is_none_is_told_in_a_sentence(
    model: SamClipModel, given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        model.predict_masks(PHOTO, **given)


def _square(model: SamClipModel) -> Tensor:
    """Our pixels for both: they differ from transformers' by rounding (test_frame.py)."""
    from zoo.models.sam_clip.frame import Frame

    return Frame.around(PHOTO, SIDE).square(PHOTO, model.preprocessing)[None]


def _bound(expected: Tensor) -> float:
    return 1e-5 * float(expected.abs().max())
