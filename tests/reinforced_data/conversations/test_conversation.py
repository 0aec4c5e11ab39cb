"""LLaVA's records become questions and answers in turn, or a sentence says why not.

.venv/bin/pytest tests/reinforced_data/conversations/test_conversation.py
"""

from typing import Any

import pytest
from tiny_conversations import turns

from zoo.models.fastvlm.prompt import Message
from zoo.reinforced_data.conversations.conversation import (
    image_names,
    messages_of,
    with_picture_at_edge,
)


def test_human_and_gpt_become_user_and_assistant() -> None:
    record = {"conversations": turns("<image>\nwhat?", "a cat", "why?", "so")}
    assert messages_of(record, 1) == (
        Message(role="user", text="<image>\nwhat?"),
        Message(role="assistant", text="a cat"),
        Message(role="user", text="why?"),
        Message(role="assistant", text="so"),
    )


def test_an_answer_before_the_first_question_is_left_out() -> None:
    record = {"conversations": [{"from": "gpt", "value": "hello"}, *turns("what?", "a cat")]}
    assert [message.text for message in messages_of(record, 0)] == ["what?", "a cat"]


def test_pictures_that_no_message_names_come_first() -> None:
    record = {"conversations": turns("compare", "same")}
    assert messages_of(record, 2)[0].text == "<image>\n<image>\ncompare"


@pytest.mark.parametrize(
    ("record", "pictures", "sentence"),
    [
        (None, 0, 'has no list of "conversations"'),
        ([], 0, 'has no list of "conversations"'),
        ({"conversations": []}, 0, 'has no list of "conversations"'),
        ({"conversations": "hello"}, 0, 'has no list of "conversations"'),
        ({"conversations": ["hello"]}, 0, "has the message 'hello'"),
        ({"conversations": [{"from": "human", "value": 3}]}, 0, 'a text as "value"'),
        ({"conversations": [{"from": "bot", "value": "a"}]}, 0, "a message \"from\" 'bot'"),
        ({"conversations": [{"from": ["human"], "value": "a"}]}, 0, "expected human or gpt"),
        ({"conversations": turns("what?")}, 0, "has no answer"),
        ({"conversations": turns("what?", "a")[:1] * 2}, 0, "two messages of the user in a row"),
        ({"conversations": turns("what?", "<image>")}, 1, "names a picture by <image> in an ans"),
        ({"conversations": turns("<image>?", "a")}, 0, "names 1 pictures by <image> but has 0"),
        ({"conversations": turns("<image><image>?", "a")}, 1, "names 2 pictures"),
        ({"conversations": turns("what?", "\ud83d")}, 0, "lone surrogate"),
    ],
)
def test_other_forms_are_refused(record: Any, pictures: int, sentence: str) -> None:
    with pytest.raises(ValueError) as error:
        messages_of(record, pictures)
    assert sentence in str(error.value)


def test_image_is_a_path_or_several_or_absent() -> None:
    assert image_names({"image": "a.png"}) == ("a.png",)
    assert image_names({"image": ["a.png", "b.png"]}) == ("a.png", "b.png")
    assert image_names({"image": None}) == image_names({}) == ()


@pytest.mark.parametrize("image", [3, [3], "", {"path": "a.png"}])
def test_an_image_of_another_type_is_refused(image: Any) -> None:
    with pytest.raises(ValueError, match="expected a path or a list of paths"):
        image_names({"image": image})


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("<image>\nwhat?", "<image>\nwhat?", "what?\n<image>"),
        ("what?\n<image>", "<image>\nwhat?", "what?\n<image>"),
        ("in <image>, what?", "<image>\nin , what?", "in , what?\n<image>"),
        ("what?", "what?", "what?"),
        ("<image> or <image>?", "<image> or <image>?", "<image> or <image>?"),
    ],
)
def test_the_only_picture_of_a_message_stands_at_an_edge(text: str, first: str, last: str) -> None:
    message = Message(role="user", text=text)
    assert with_picture_at_edge([message], last=False)[0].text == first
    assert with_picture_at_edge([message], last=True)[0].text == last
