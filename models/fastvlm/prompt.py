"""FastVLM's prompt: ChatML, with pictures where the text says `<image>` (`conversation.py`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

IMAGE_TOKEN = "<image>"
"""Where a picture stands in a text."""
IMAGE_TOKEN_INDEX = -200
"""Token id in place of a visual token: as many in a row as the picture has (`constants.py`)."""
DEFAULT_SYSTEM_PROMPT = "You are a helpful assistant."
START, END, PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
SPECIAL_TOKENS = (PAD, START, END)

Role = Literal["user", "assistant"]


@dataclass(frozen=True, kw_only=True)
class Message:
    """What one side says; `<image>` in a text of the user stands for a picture."""

    role: Role
    text: str


class Prompt(NamedTuple):
    """Token ids and which of them the model is to say."""

    ids: list[int]
    """IMAGE_TOKEN_INDEX once for every visual token."""
    is_answer: list[bool]
    """True for the assistant's words and the token that ends them."""


def with_images(question: str, images: int) -> str:
    """Return a question that names `images` pictures.

    Where it says `<image>` already, as often as there are pictures, it stays as it is. Otherwise
    the pictures come first, one a line, as in the original's `predict.py`. Raises ValueError for
    another number of `<image>`.
    """
    named = question.count(IMAGE_TOKEN)
    if named == 0:
        return f"{IMAGE_TOKEN}\n" * images + question
    if named != images:
        raise ValueError(
            f"The prompt names {named} pictures by {IMAGE_TOKEN}, but {images} are given; name "
            "each once, or none."
        )
    return question


def encode_opening(tokenizer: Any, system_prompt: str = DEFAULT_SYSTEM_PROMPT) -> list[int]:
    """Return the ids of what every conversation begins with."""
    return _ids(tokenizer, f"{START}system\n{system_prompt}{END}\n")


def encode_question(tokenizer: Any, question: str, visual_tokens: Sequence[int]) -> list[int]:
    """Return the ids of a message of the user, up to where the answer begins.

    `visual_tokens`: how many each `<image>` of the question becomes. Raises ValueError where their
    number is another.
    """
    turn = f"{START}user\n{question}{END}\n{START}assistant\n"
    return list(_with_visual_tokens(tokenizer, turn, visual_tokens))


def encode_answer_end(tokenizer: Any) -> list[int]:
    """Return the ids between an answer and what the user says next."""
    return _ids(tokenizer, f"{END}\n")


def encode_conversation(
    tokenizer: Any,
    messages: Sequence[Message],
    visual_tokens: Sequence[int],
    *,
    system_prompt: str = DEFAULT_SYSTEM_PROMPT,
) -> Prompt:
    """Return a whole conversation, questions and answers in turn, for training.

    Raises ValueError where the messages are not in turn, beginning with the user, or the number of
    pictures is not that of `visual_tokens`.
    """
    prompt = Prompt(ids=[], is_answer=[])
    _extend(prompt, encode_opening(tokenizer, system_prompt), is_answer=False)
    remaining = list(visual_tokens)
    for place, message in enumerate(messages):
        if message.role != ("user", "assistant")[place % 2]:
            raise ValueError(
                f"Message {place + 1} is the {message.role}'s; a conversation begins with the user "
                "and goes on in turn."
            )
        if message.role == "user":
            count = message.text.count(IMAGE_TOKEN)
            question = encode_question(tokenizer, message.text, remaining[:count])
            del remaining[:count]
            _extend(prompt, question, is_answer=False)
        else:
            _extend(prompt, _ids(tokenizer, f"{message.text}{END}"), is_answer=True)
            _extend(prompt, _ids(tokenizer, "\n"), is_answer=False)
    if remaining:
        raise ValueError(f"{len(remaining)} pictures have no {IMAGE_TOKEN} in the conversation.")
    return prompt


def _extend(prompt: Prompt, ids: Sequence[int], *, is_answer: bool) -> None:
    prompt.ids.extend(ids)
    prompt.is_answer.extend([is_answer] * len(ids))


def _with_visual_tokens(tokenizer: Any, text: str, visual_tokens: Sequence[int]) -> Iterator[int]:
    """The text around every `<image>` is tokenized by itself (`tokenizer_image_token`)."""
    first, *others = text.split(IMAGE_TOKEN)
    if len(others) != len(visual_tokens):
        raise ValueError(
            f"A message names {len(others)} pictures by {IMAGE_TOKEN}, but {len(visual_tokens)} "
            "belong to it."
        )
    yield from _ids(tokenizer, first)
    for count, chunk in zip(visual_tokens, others, strict=True):
        yield from [IMAGE_TOKEN_INDEX] * count
        yield from _ids(tokenizer, chunk)


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
