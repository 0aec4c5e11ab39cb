"""One conversation about pictures, in the form of LLaVA's files.

{"id": "17", "image": "coco/17.jpg",                      a path, a list of them, or absent
 "conversations": [{"from": "human", "value": "<image>\\nWhat is this?"},
                   {"from": "gpt", "value": "A cat."}, …]}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zoo.models.fastvlm.prompt import IMAGE_TOKEN, Message, Role, with_images

_ROLES: Mapping[str, Role] = {"human": "user", "gpt": "assistant"}


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """Questions and answers in turn, and the pictures that they name."""

    messages: tuple[Message, ...]
    """`<image>` in them as often as there are pictures."""
    pictures: tuple[bytes, ...]
    """Encoded, in the order in which the messages name them."""


def messages_of(record: Any, pictures: int) -> tuple[Message, ...]:
    """Return the messages of a record, in which `pictures` pictures are named.

    An answer before the first question is left out, as LLaVA does (ShareGPT's have it). Pictures
    that no message names come first, as in `with_images`.

    Raises ValueError, the predicate of a sentence, for a record of another form, messages that are
    not in turn, no answer, and another number of `<image>` than of pictures.
    """
    messages = [_message(turn) for turn in _turns(record)]
    if messages[0].role == "assistant":
        messages = messages[1:]
    for place, message in enumerate(messages):
        if message.role != ("user", "assistant")[place % 2]:
            raise ValueError(f"has two messages of the {message.role} in a row; expected turns.")
        if message.role == "assistant" and IMAGE_TOKEN in message.text:
            raise ValueError(f"names a picture by {IMAGE_TOKEN} in an answer.")
    if len(messages) < 2:
        raise ValueError("has no answer to a question; leave it out.")
    return _with_pictures(messages, pictures)


def text_bytes(messages: Sequence[Message]) -> int:
    """Return how many bytes of UTF-8 the messages have together."""
    return sum(len(message.text.encode()) for message in messages)


def image_names(record: Any) -> tuple[str, ...]:
    """Return what `image` of a record names: one path, several or none.

    Raises ValueError, the predicate of a sentence, for anything else.
    """
    named = record.get("image") if isinstance(record, dict) else None
    names = [] if named is None else [named] if isinstance(named, str) else named
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"has the image {_short(named)}; expected a path or a list of paths.")
    return tuple(names)


def with_picture_at_edge(messages: Sequence[Message], *, last: bool) -> tuple[Message, ...]:
    """Return the messages with the picture of those that name one before or behind the text.

    LLaVA moves it to the front wherever it stood (`preprocess_multimodal`). Messages that name
    several stay as they are.
    """
    return tuple(
        replace(message, text=_at_edge(message.text, last))
        if message.text.count(IMAGE_TOKEN) == 1
        else message
        for message in messages
    )


def _at_edge(text: str, last: bool) -> str:
    words = text.replace(IMAGE_TOKEN, "").strip()
    return f"{words}\n{IMAGE_TOKEN}" if last else f"{IMAGE_TOKEN}\n{words}"


def _turns(record: Any) -> list[Any]:
    turns = record.get("conversations") if isinstance(record, dict) else None
    if not isinstance(turns, list) or not turns:
        raise ValueError(
            'has no list of "conversations"; expected [{"from": "human", "value": …}, …].'
        )
    return turns


def _message(turn: Any) -> Message:
    role, text = (turn.get("from"), turn.get("value")) if isinstance(turn, dict) else (None, None)
    if not isinstance(text, str):
        raise ValueError(f'has the message {_short(turn)}; expected "from" and a text as "value".')
    if not isinstance(role, str) or role not in _ROLES:
        raise ValueError(f'has a message "from" {_short(role)}; expected {" or ".join(_ROLES)}.')
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("has a text with half a character (a lone surrogate).") from error
    return Message(role=_ROLES[role], text=text)


def _with_pictures(messages: Sequence[Message], pictures: int) -> tuple[Message, ...]:
    named = sum(message.text.count(IMAGE_TOKEN) for message in messages)
    if named == pictures:
        return tuple(messages)
    if named:
        raise ValueError(f"names {named} pictures by {IMAGE_TOKEN} but has {pictures}.")
    first = replace(messages[0], text=with_images(messages[0].text, pictures))
    return (first, *messages[1:])


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
