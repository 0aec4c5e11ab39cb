"""What a model is trained on: the answers alone are to be said, and nothing is cut in the middle.

.venv/bin/pytest tests/reinforced_data/conversations/test_conversation_examples.py
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pictures import encoded, picture
from tiny_conversations import TOKENS, png, tokenizer, turns, views

from zoo.models.fastvlm.prompt import IMAGE_TOKEN_INDEX
from zoo.models.preprocess import open_image
from zoo.reinforced_data.conversations.conversation import Conversation, messages_of
from zoo.reinforced_data.conversations.samples import IGNORED, Encoder, Example


def make_encoder(**changes: Any) -> Encoder:
    common = {
        "tokenizer": tokenizer(),
        "views": views(),
        "tokens_per_view": TOKENS,
        "max_length": 1000,
        "random_image_position": False,
        "seed": 0,
    }
    return Encoder(**(common | changes))


def conversation(*texts: str, pictures: int = 0) -> Conversation:
    messages = messages_of({"conversations": turns(*texts)}, pictures)
    return Conversation(messages=messages, pictures=tuple(png(i) for i in range(pictures)))


def shown(example: Example) -> str:
    """The text with `#` for every visual token."""
    pieces = ["#" if i == IMAGE_TOKEN_INDEX else tokenizer().decode([i]) for i in example.ids]
    return "".join(pieces)


def said(example: Example) -> str:
    return tokenizer().decode(example.labels[example.labels != IGNORED].tolist())


def test_the_answers_and_their_ends_are_to_be_said() -> None:
    example = make_encoder()(conversation("<image>\na?", "b", "c?", "d e", pictures=1), 0)
    assert said(example) == "b<|im_end|>d e<|im_end|>"
    assert shown(example) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n##\na?<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
        "<|im_start|>user\nc?<|im_end|>\n<|im_start|>assistant\nd e<|im_end|>"
    )
    answered = example.labels != IGNORED
    assert np.array_equal(example.labels[answered], example.ids[answered])
    assert example.views.shape == (1, 3, 64, 64)
    assert torch.equal(example.views, views().pixels(open_image(png(0))))


def test_text_alone_has_no_views() -> None:
    assert make_encoder()(conversation("a?", "b"), 0).views.shape == (0, 3, 64, 64)


def test_every_view_has_its_visual_tokens_and_pictures_keep_their_order() -> None:
    encoder = make_encoder(views=replace(views(), grids=((2, 1), (1, 2))))
    two = replace(
        conversation("<image> and <image>", "c", pictures=2),
        pictures=(encoded(picture(300, 90), "PNG"), encoded(picture(90, 300), "PNG")),
    )
    example = encoder(two, 0)
    counts = [encoder.views.count(300, 90), encoder.views.count(90, 300)]
    assert len(example.views) == sum(counts) == 6
    assert f"{'#' * 3 * TOKENS} and {'#' * 3 * TOKENS}" in shown(example)
    expected = [encoder.views.pixels(open_image(data)) for data in two.pictures]
    assert torch.equal(example.views, torch.cat(expected))


def test_a_long_conversation_ends_with_the_last_answer_that_fits() -> None:
    talk = conversation("<image>\na?", "b", "see <image>\nc?", "d e", "f?", "g", pictures=2)
    whole = make_encoder()(talk, 0)
    ends = np.flatnonzero(
        (whole.labels != IGNORED) & ~np.append(whole.labels[1:] != IGNORED, False)
    )
    for length in range(int(ends[0]) + 1, len(whole.ids) + 1):
        example = make_encoder(max_length=length)(talk, 0)
        answers = int((ends < length).sum())
        assert len(example.ids) == ends[answers - 1] + 1 <= length
        assert len(example.views) == min(answers, 2)
        assert shown(example).count("#") == len(example.views) * TOKENS
        assert np.array_equal(example.ids, whole.ids[: len(example.ids)])
        assert torch.equal(example.views, whole.views[: len(example.views)])


def test_a_first_answer_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"too long: its first answer ends at token \d+.* is 20"):
        make_encoder(max_length=20)(conversation("a?", "b"), 0)


def test_a_damaged_picture_is_an_error_that_says_which() -> None:
    talk = conversation("<image> <image>", "b", pictures=2)
    for damaged in (png(1)[:60], b"", b"no picture"):
        with pytest.raises(ValueError, match="no usable picture 2: the image bytes"):
            make_encoder()(replace(talk, pictures=(png(0), damaged)), 0)


def test_the_picture_stands_behind_half_of_the_questions_as_the_seed_says() -> None:
    talk = conversation("what <image> now?", "b", pictures=1)
    encoder, again = make_encoder(random_image_position=True), make_encoder(seed=1)
    texts = [shown(encoder(talk, showing)) for showing in range(60)]
    before, behind = "user\n##\nwhat  now?<", "user\nwhat  now?\n##<"
    assert 15 < sum(behind in text for text in texts) < 45
    assert all((before in text) != (behind in text) for text in texts)
    assert [shown(encoder(talk, showing)) for showing in range(60)] == texts
    other = replace(again, random_image_position=True)
    assert [shown(other(talk, showing)) for showing in range(60)] != texts
    assert all(before in shown(again(talk, showing)) for showing in range(10))
