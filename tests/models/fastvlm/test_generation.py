"""Answers are the language model's own, cached or not, one by one, in batches or in pieces.

.venv/bin/pytest tests/models/fastvlm/test_generation.py
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pictures import picture
from talking_models import talking_model, uncached_answer

from zoo.models.fastvlm.generation import Sampling, new_cache, next_tokens, pieces, text_of
from zoo.models.fastvlm.prompt import encode_opening, encode_question
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel

TOKENS = 6
PROMPTS = ["hello", "What is this, and what is in the corner?", "And these two?", "What is this?"]
IMAGES = [None, picture(seed=1), [picture(seed=0), picture(90, 200, seed=2)], picture(seed=3)]


@pytest.fixture(scope="module")
def model() -> VisionLanguageModel:
    return talking_model()


def ids_of(model: VisionLanguageModel, question: str, pictures: int = 0) -> list[int]:
    counts = [model.tokens_per_view] * pictures
    turn = encode_question(model.tokenizer, "<image>\n" * pictures + question, counts)
    return encode_opening(model.tokenizer) + turn


def test_an_answer_is_what_the_model_says_without_a_cache(model: VisionLanguageModel) -> None:
    for seed in range(2):
        source = picture(seed=seed)
        said = uncached_answer(model, ids_of(model, "What is this?", 1), [source], TOKENS)
        answer = model.generate(source, "What is this?", max_new_tokens=TOKENS)
        assert answer == text_of(model.tokenizer, said)


def test_an_answer_is_that_of_transformers_own_generate(model: VisionLanguageModel) -> None:
    ids = torch.tensor([ids_of(model, "What is this?", 1)])
    with torch.no_grad():
        views = model.preprocess(picture()).double()
        embeddings = model.embed(ids, model.visual_tokens(views))
    said = model.language_model.generate(
        inputs_embeds=embeddings,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=TOKENS,
        do_sample=False,
        pad_token_id=0,
    )
    answer = model.generate(picture(), "What is this?", max_new_tokens=TOKENS)
    assert answer == text_of(model.tokenizer, said[0])


def test_answers_depend_on_the_picture(model: VisionLanguageModel) -> None:
    answers = [
        model.generate(picture(seed=seed), "What is this?", max_new_tokens=TOKENS)
        for seed in range(3)
    ]
    assert len(set(answers)) == 3


def test_a_batch_answers_as_its_prompts_one_by_one(model: VisionLanguageModel) -> None:
    alone = [
        model.generate(images, prompt, max_new_tokens=TOKENS)
        for images, prompt in zip(IMAGES, PROMPTS, strict=True)
    ]
    assert model.generate(IMAGES, PROMPTS, max_new_tokens=TOKENS) == alone
    assert model.generate(None, PROMPTS[:1], max_new_tokens=TOKENS) == alone[:1]
    assert model.generate([], []) == []


def test_a_row_that_ends_early_leaves_the_others_as_they_are(model: VisionLanguageModel) -> None:
    whole = model.generate(IMAGES, PROMPTS, max_new_tokens=TOKENS)
    ids = ids_of(model, PROMPTS[0])
    said = uncached_answer(model, ids, [], TOKENS)
    settings = model.language_model.generation_config
    settings.eos_token_id = [said[2]]
    try:
        cut = model.generate(IMAGES, PROMPTS, max_new_tokens=TOKENS)
        embeddings = model.language_model.get_input_embeddings()(torch.tensor([ids]))
        steps = list(next_tokens(model, embeddings, new_cache(), sampling=Sampling()))
    finally:
        settings.eos_token_id = None
    assert cut[0] == text_of(model.tokenizer, said[:2])
    assert cut[1:] == whole[1:]
    assert steps == [[token] for token in said[:2]] + [[None]]


def test_pieces_joined_are_the_answer(model: VisionLanguageModel) -> None:
    for images, prompt in zip(IMAGES, PROMPTS, strict=True):
        parts = list(model.stream(images, prompt, max_new_tokens=16))
        assert "".join(parts) == model.generate(images, prompt, max_new_tokens=16)
        assert len(parts) > 3


def test_no_piece_cuts_a_character(model: VisionLanguageModel) -> None:
    text = "a grün 漢字 👩‍🚀 circle \n\n ends"
    ids = model.tokenizer(f"  {text} \n", add_special_tokens=False)["input_ids"]
    parts = list(pieces(model.tokenizer, ids))
    assert "".join(parts) == text
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(parts)
    assert len(parts) > 10
    cut = model.tokenizer("字", add_special_tokens=False)["input_ids"][:-1]
    assert "".join(pieces(model.tokenizer, cut)) == text_of(model.tokenizer, cut)


def test_only_the_last_position_has_logits_and_none_a_gradient(model: VisionLanguageModel) -> None:
    noted: list[tuple[int, bool]] = []

    def note(module: Any, inputs: Any, output: Any) -> None:
        noted.append((output.logits.shape[1], output.logits.requires_grad))

    handle = model.language_model.register_forward_hook(note)
    model.generate(picture(), "What is this?", max_new_tokens=3)
    handle.remove()
    assert noted == [(1, False)] * 3


def test_padding_takes_no_position(model: VisionLanguageModel) -> None:
    positions: list[list[list[int]]] = []

    def note(module: Any, args: Any, inputs: dict[str, Any]) -> None:
        positions.append(inputs["position_ids"].tolist())

    handle = model.language_model.register_forward_pre_hook(note, with_kwargs=True)
    model.generate(None, ["hi", "hello there"], max_new_tokens=2)
    handle.remove()
    first, second = positions[0]
    padding = len(ids_of(model, "hello there")) - len(ids_of(model, "hi"))
    assert padding > 0
    assert first == [0] * padding + second[: len(second) - padding]
    assert positions[1] == [[first[-1] + 1], [second[-1] + 1]]


def test_a_stream_that_waits_leaves_gradients_on(model: VisionLanguageModel) -> None:
    stream = model.stream(picture(), "What is this?", max_new_tokens=TOKENS)
    next(stream)
    assert torch.is_grad_enabled()


def test_tower_and_language_model_may_differ_in_precision() -> None:
    mixed = talking_model(torch.float32)
    mixed.language_model.bfloat16()
    answer = mixed.generate(picture(), "What is this?", max_new_tokens=3)
    assert answer
    assert mixed.chat(picture()).ask("What is this?", max_new_tokens=3) == answer


def test_sampling_repeats_with_torchs_seed(model: VisionLanguageModel) -> None:
    def draw(seed: int, **options: float) -> str:
        torch.manual_seed(seed)
        return model.generate(picture(), "hello", max_new_tokens=TOKENS, **options)  # pyright: ignore[reportArgumentType, reportCallIssue]

    assert draw(0, temperature=2.0) == draw(0, temperature=2.0)
    assert draw(0, temperature=2.0) != draw(1, temperature=2.0)
    assert draw(0, temperature=2.0, top_p=1e-6) == draw(0)


def test_top_p_keeps_the_likeliest_that_reach_it_together() -> None:
    logits = torch.tensor([[0.1, 0.5, 0.15, 0.25]]).log().expand(4000, 4)
    torch.manual_seed(0)
    counts = Sampling(temperature=1.0, top_p=0.7).choose(logits).bincount(minlength=4) / 4000
    assert counts[0] == counts[2] == 0
    assert counts[1] == pytest.approx(2 / 3, abs=0.03)
    cold = Sampling(temperature=0.5).choose(logits).bincount(minlength=4) / 4000
    squares = torch.tensor([0.01, 0.25, 0.0225, 0.0625])
    assert torch.allclose(cold, squares / squares.sum(), atol=0.03)


def test_bad_requests_say_what_is_wrong(model: VisionLanguageModel) -> None:
    with pytest.raises(ValueError, match="names 2 pictures"):
        model.generate(picture(), "Is <image> like <image>?")
    with pytest.raises(ValueError, match="max_new_tokens=0"):
        model.generate(None, "hello", max_new_tokens=0)
    with pytest.raises(ValueError, match="temperature=-1"):
        model.generate(None, "hello", temperature=-1)
    with pytest.raises(ValueError, match="top_p=0"):
        model.generate(None, "hello", top_p=0.0)
    with pytest.raises(ValueError, match="2 prompts, but 1 entries"):
        model.generate([picture()], ["one", "two"])
    with pytest.raises(ValueError, match="reads no more than 32768"):
        model.generate(picture(), "hello", max_new_tokens=32768)
    with pytest.raises(FileNotFoundError, match="No image at"):
        next(model.stream("nowhere.jpg", "hello"))


@pytest.mark.gpu
def test_a_gpu_answers_as_the_cpu(model: VisionLanguageModel) -> None:
    answers = model.generate(IMAGES, PROMPTS, max_new_tokens=TOKENS)
    on_gpu = talking_model().to("cuda")
    assert on_gpu.generate(IMAGES, PROMPTS, max_new_tokens=TOKENS) == answers
    assert on_gpu.chat(IMAGES[1]).ask(PROMPTS[1], max_new_tokens=TOKENS) == answers[1]
