"""A conversation reads nothing twice and says what it would without a cache.

.venv/bin/pytest tests/models/fastvlm/test_chat.py
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pictures import picture
from PIL import Image
from talking_models import talking_model, tokens_read, uncached_answer

from zoo.models.fastvlm.generation import text_of
from zoo.models.fastvlm.prompt import Message, encode_conversation, encode_question
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel

TOKENS = 4


@pytest.fixture(scope="module")
def original() -> VisionLanguageModel:
    return talking_model()


@pytest.fixture
def model(original: VisionLanguageModel) -> VisionLanguageModel:
    return copy.deepcopy(original)


class Plain:
    """A conversation without a cache: every answer from the whole of it."""

    def __init__(self, model: VisionLanguageModel, sources: list[Image.Image]) -> None:
        self.model, self.sources, self.opening = model, sources, len(sources)
        self.ids = encode_conversation(model.tokenizer, [], []).ids
        self.closing: list[int] = []

    def ask(self, question: str, images: tuple[Image.Image, ...] = (), tokens: int = TOKENS) -> str:
        count = len(images) + self.opening
        self.opening = 0
        self.sources = [*self.sources, *images]
        turn = encode_question(
            self.model.tokenizer,
            "<image>\n" * count + question,
            [self.model.tokens_per_view] * count,
        )
        self.ids = self.ids + self.closing + turn
        said = uncached_answer(self.model, self.ids, self.sources, tokens)
        self.ids = self.ids + said
        self.closing = self.model.tokenizer("<|im_end|>\n", add_special_tokens=False)["input_ids"]
        return text_of(self.model.tokenizer, said)


def test_follow_up_questions_are_answered_as_without_a_cache(model: VisionLanguageModel) -> None:
    chat = model.chat([picture(seed=0), picture(seed=1)])
    plain = Plain(model, [picture(seed=0), picture(seed=1)])
    assert chat.ask("What is this?", max_new_tokens=TOKENS) == plain.ask("What is this?")
    assert chat.ask("And that?", max_new_tokens=TOKENS) == plain.ask("And that?")
    new = picture(seed=2)
    answer = chat.ask("Compare.", images=new, max_new_tokens=TOKENS)
    assert answer == plain.ask("Compare.", (new,))
    assert chat.ask("Why?", max_new_tokens=TOKENS) == plain.ask("Why?")


def test_the_ids_of_a_conversation_are_those_of_training(model: VisionLanguageModel) -> None:
    messages = [
        Message(role="user", text="<image>\nWhat is this?"),
        Message(role="assistant", text="a circle"),
        Message(role="user", text="And?"),
    ]
    trained = encode_conversation(model.tokenizer, messages[:2], [model.tokens_per_view]).ids
    trained += encode_question(model.tokenizer, "And?", [])
    plain = Plain(model, [picture()])
    plain.ask("What is this?", tokens=0)
    plain.ids += model.tokenizer("a circle", add_special_tokens=False)["input_ids"]
    plain.ask("And?", tokens=0)
    assert plain.ids == trained


def test_a_follow_up_costs_only_its_own_tokens(model: VisionLanguageModel) -> None:
    chat = model.chat(picture())
    seen = tower_passes(model)
    passes = tokens_read(model)
    chat.ask("What is this?", max_new_tokens=4)
    first = passes[0]
    passes.clear()
    chat.ask("And?", max_new_tokens=4)
    own = len(encode_question(model.tokenizer, "And?", []))
    assert passes == [1 + 2 + own, 1, 1, 1]  # the last word of the answer, its end, the question
    assert first > own + model.tokens_per_view
    assert seen == []


def test_forgetting_keeps_pictures_and_system_prompt(model: VisionLanguageModel) -> None:
    chat = model.chat([picture(seed=0), picture(seed=1)], system_prompt="Be short.")
    chat.ask("What is this?", max_new_tokens=4)
    chat.ask("And?", images=picture(seed=2), max_new_tokens=4)
    seen = tower_passes(model)
    passes = tokens_read(model)
    for question in ("What is it?", "Where?"):
        chat.forget()
        passes.clear()
        fresh = model.chat([picture(seed=0), picture(seed=1)], system_prompt="Be short.")
        del seen[:]
        answer = chat.ask(question, max_new_tokens=TOKENS)
        rest = model.tokenizer(
            f"\n{question}<|im_end|>\n<|im_start|>assistant\n", add_special_tokens=False
        )
        assert passes[0] == len(rest["input_ids"])
        assert seen == []
        assert answer == fresh.ask(question, max_new_tokens=TOKENS)


def test_forgetting_without_pictures_keeps_the_system_prompt(model: VisionLanguageModel) -> None:
    chat = model.chat()
    chat.forget()
    answer = chat.ask("hello", max_new_tokens=TOKENS)
    passes = tokens_read(model)
    chat.forget()
    assert chat.ask("hello", max_new_tokens=TOKENS) == answer
    assert passes[0] == len(encode_question(model.tokenizer, "hello", []))


def test_an_answer_nobody_read_to_its_end_is_part_of_the_conversation(
    model: VisionLanguageModel,
) -> None:
    chat, plain = model.chat(picture()), Plain(model, [picture()])
    passes = tokens_read(model)
    stream = chat.stream("What is this?", max_new_tokens=12)
    heard = next(stream) + next(stream)
    stream.close()
    assert plain.ask("What is this?", tokens=len(passes)).startswith(heard)
    assert chat.ask("And?", max_new_tokens=TOKENS) == plain.ask("And?")


@pytest.mark.parametrize("words_before", [0, 3])
def test_after_an_interruption_the_conversation_goes_on(
    model: VisionLanguageModel, words_before: int
) -> None:
    chat, plain = model.chat(picture()), Plain(model, [picture()])
    layer = model.language_model.model.layers[2]
    passes: list[int] = []

    def interrupt(module: Any, inputs: Any) -> None:
        passes.append(1)
        if len(passes) == words_before + 1:
            raise KeyboardInterrupt

    handle = layer.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        chat.ask("What is this?", max_new_tokens=12)
    handle.remove()
    if words_before:
        plain.ask("What is this?", tokens=words_before)
    assert chat.ask("And?", max_new_tokens=TOKENS) == plain.ask("And?")


def test_a_refused_question_leaves_the_conversation_as_it_was(model: VisionLanguageModel) -> None:
    chat, plain = model.chat(picture()), Plain(model, [picture()])
    chat.ask("What is this?", max_new_tokens=TOKENS)
    plain.ask("What is this?")
    with pytest.raises(ValueError, match="reads no more than"):
        chat.ask("Tell me all.", max_new_tokens=32768)
    with pytest.raises(ValueError, match="names 1 pictures"):
        chat.ask("What is <image>?")
    assert chat.ask("And?", max_new_tokens=TOKENS) == plain.ask("And?")


def tower_passes(model: VisionLanguageModel) -> list[int]:
    passes: list[int] = []
    model.image_encoder.get_submodule("stem").register_forward_hook(
        lambda module, inputs, output: passes.append(len(output))
    )
    return passes
