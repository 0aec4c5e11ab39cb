"""A SAM is asked as at inference; the truth answers with the instance's own mask.

.venv/bin/pytest tests/reinforced_data/masks/test_mask_teacher.py
"""

import numpy as np
import pytest
import torch
from mask_shards import random_sam, truth
from PIL import Image

from zoo.models.sam_clip.frame import Frame
from zoo.models.sam_clip.prompt_encoder import NOT_A_POINT
from zoo.models.sam_clip.sam_clip_model import Prompts
from zoo.reinforced_data.masks.instances import Instances
from zoo.reinforced_data.masks.prompts import POINT, draw_prompts
from zoo.reinforced_data.masks.square import square_pixels
from zoo.reinforced_data.masks.teacher import SamTeacher, load_mask_teacher, mask_logits

WIDTH, HEIGHT = 90, 50


@pytest.fixture(scope="module")
def sam() -> SamTeacher:
    return random_sam()


@pytest.fixture
def image() -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (5, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


@pytest.fixture
def mask() -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.hypot(x - 30, y - 20) < 15


def test_a_sam_answers_each_prompt_as_the_model_does_when_it_is_asked_alone(
    sam: SamTeacher, image: Image.Image, mask: np.ndarray
) -> None:
    frame = Frame.around(image, 128)
    instances = Instances([mask], WIDTH, HEIGHT)
    prompts, masks = draw_prompts(np.random.default_rng(0), instances, frame, 6)
    answers = sam.answer(image, prompts, masks)
    assert set(prompts.kinds) == {0, 1, 2}
    with torch.inference_mode():
        square = frame.square(image, sam.model.preprocessing)[None]
        embedding = sam.model.mask_embedding(sam.model.tokens(square))
        for row, answer in enumerate(answers):
            labels = prompts.labels[row].astype(int)
            there = labels != NOT_A_POINT
            if prompts.kinds[row] == POINT:
                there[1] = True  # SAM's own padding of a single point
            points = torch.from_numpy(prompts.points[row, there])[None]
            asked = Prompts(points, torch.from_numpy(labels[there])[None])
            logits, iou = sam.model.decode_masks(embedding, asked)
            told = slice(1, 4) if prompts.kinds[row] == POINT else slice(0, 1)
            np.testing.assert_allclose(answer.logits, logits[0, told], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(answer.iou, iou[0, told], rtol=1e-4, atol=1e-5)


def test_a_sam_stays_as_it_is_when_training_begins(sam: SamTeacher) -> None:
    sam.model.train()
    assert not any(part.training for part in sam.model.modules())
    assert not any(parameter.requires_grad for parameter in sam.model.parameters())


def test_the_truth_answers_once_with_the_mask_it_was_asked_for(
    image: Image.Image, mask: np.ndarray
) -> None:
    teacher, frame = truth(), Frame.around(image, 128)
    instances = Instances([mask, ~mask], WIDTH, HEIGHT)
    prompts, masks = draw_prompts(np.random.default_rng(0), instances, frame, 4)
    for answer, instance in zip(
        teacher.answer(image, prompts, masks), prompts.instances.tolist(), strict=True
    ):
        assert answer.logits.shape == (1, 64, 64) and answer.iou.tolist() == [1.0]
        back = frame.to_picture(torch.from_numpy(answer.logits))[0] > 0
        wanted = torch.from_numpy(instances.mask(instance))
        assert (back & wanted).sum() / (back | wanted).sum() > 0.95


def test_the_logits_of_a_mask_are_those_of_the_share_that_it_covers() -> None:
    mask = np.zeros((2, 4), bool)
    mask[0, 0] = mask[1] = True
    found = mask_logits(mask, Frame(side=8, width=4, height=2), 2)
    np.testing.assert_allclose(found, [[np.log(3), 0], [-10, -10]], atol=1e-5)


def test_the_padding_of_a_batch_s_pictures_is_nearly_that_of_sam_and_their_pixels_are_the_same(
    sam: SamTeacher, image: Image.Image
) -> None:
    pixels = torch.from_numpy(square_pixels(image, 128)).permute(2, 0, 1)
    normalised = sam.model.preprocessing.normalize(pixels)
    exact = Frame.around(image, 128).square(image, sam.model.preprocessing)
    height = Frame.around(image, 128).inner[1]
    assert torch.equal(normalised[:, :height], exact[:, :height])
    assert normalised[:, height:].abs().max() < 0.009 and not exact[:, height:].any()


@pytest.mark.parametrize("spec", ["truth", "sam:sam-clip-tiny", "truth:sam-clip-tiny@x", "zoo:a@b"])
def test_a_teacher_that_is_not_understood_shows_how_to_write_one(spec: str) -> None:
    with pytest.raises(ValueError, match="write sam:MODEL@WEIGHTS"):
        load_mask_teacher(spec)


def test_the_truth_of_another_kind_of_model_is_refused() -> None:
    with pytest.raises(ValueError, match="a SAM-CLIP model is needed"):
        load_mask_teacher("truth:mobileclip2-s0")
