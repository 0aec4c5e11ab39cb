"""Answers of a batch of prompts: one decoding loop over transformers' causal language models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from zoo.models.fastvlm.prompt import (
    END,
    encode_opening,
    encode_question,
    with_images,
)
from zoo.models.preprocess import ImageSource

Images = ImageSource | Sequence[ImageSource] | None
"""The pictures of one prompt."""


class Reader(Protocol):
    """What answering needs of a vision-language model."""

    projector: nn.Module
    language_model: Any
    """A causal language model of transformers."""

    @property
    def tokenizer(self) -> Any: ...

    @property
    def tokens_per_view(self) -> int: ...

    def preprocess(self, source: ImageSource) -> Tensor: ...

    def visual_tokens(self, images: Tensor) -> Tensor: ...

    def embed(self, input_ids: Tensor, visual_tokens: Tensor | None = None) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen, and how many at the most."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    """0 takes the likeliest token; above, torch's generator draws one."""
    top_p: float = 1.0
    """Draw only among the likeliest tokens that together have this probability."""

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens={self.max_new_tokens}; an answer takes 1 or more.")
        if self.temperature < 0:
            raise ValueError(f"temperature={self.temperature}; give 0 for greedy, or more.")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p}; give a probability above 0, up to 1.")

    def choose(self, logits: Tensor) -> Tensor:
        """Return the next tokens, int64 (B,), for logits (B, vocabulary)."""
        if self.temperature == 0:
            return logits.argmax(-1)
        probabilities = (logits.float() / self.temperature).softmax(-1)
        if self.top_p < 1:
            ordered, order = probabilities.sort(descending=True)
            # A token stays as long as those before it do not have top_p between them.
            is_beyond = ordered.cumsum(-1) - ordered >= self.top_p
            probabilities = probabilities.scatter(-1, order, ordered.masked_fill(is_beyond, 0))
        return torch.multinomial(probabilities, 1)[:, 0]


class Pictures(NamedTuple):
    """Pictures as the language model reads them."""

    tokens: Tensor
    """(visual tokens of all, hidden)"""
    counts: list[int]
    """How many of them each picture has."""


def generate_answers(
    model: Reader,
    prompts: Sequence[str],
    images: Sequence[Images],
    *,
    sampling: Sampling,
    system_prompt: str,
) -> list[str]:
    """Return the model's answer to every prompt, computed as one left-padded batch.

    Raises ValueError for what is no picture, a prompt that names another number of pictures than
    it has, or one too long for the model.
    """
    if not prompts:
        return []
    sources = [sources_of(of_one) for of_one in images]
    pictures = encode_pictures(model, [source for of_one in sources for source in of_one])
    counts = iter(pictures.counts)
    opening = encode_opening(model.tokenizer, system_prompt)
    rows = [
        opening
        + encode_question(
            model.tokenizer,
            with_images(prompt, len(of_one)),
            [next(counts) for _ in of_one],
        )
        for prompt, of_one in zip(prompts, sources, strict=True)
    ]
    check_length(model, max(map(len, rows)), sampling)
    ids, mask = _left_padded(rows, pictures.tokens.device)
    said: list[list[int]] = [[] for _ in rows]
    embeddings = embed(model, ids, pictures.tokens)
    for tokens in next_tokens(model, embeddings, new_cache(), sampling=sampling, mask=mask):
        for answer, token in zip(said, tokens, strict=True):
            if token is not None:
                answer.append(token)
    return [text_of(model.tokenizer, answer) for answer in said]


def sources_of(images: Images) -> list[ImageSource]:
    """Return the pictures of one prompt as a list."""
    if images is None:
        return []
    return [images] if isinstance(images, ImageSource) else list(images)


@torch.no_grad()
def encode_pictures(model: Reader, sources: Sequence[ImageSource]) -> Pictures:
    """Return the visual tokens of pictures, all of which pass the tower together.

    Raises what `Preprocessing` raises for what is no picture.
    """
    parameter = next(model.projector.parameters())
    if not sources:
        width = model.language_model.get_input_embeddings().embedding_dim
        return Pictures(parameter.new_empty(0, width), [])
    views = [model.preprocess(source) for source in sources]
    pixels = torch.cat(views).to(parameter.device, parameter.dtype)
    tokens = model.visual_tokens(pixels)  # (V, tokens, hidden)
    return Pictures(tokens.flatten(0, 1), [len(one) * tokens.shape[1] for one in views])


@torch.no_grad()
def embed(model: Reader, ids: Tensor, visual_tokens: Tensor) -> Tensor:
    """Return embeddings (B, T, hidden) of ids int64 (B, T) and visual tokens (n, hidden)."""
    return model.embed(ids, visual_tokens[None] if len(visual_tokens) else None)


@torch.no_grad()
def next_tokens(
    model: Reader,
    embeddings: Tensor,
    cache: Any,
    *,
    sampling: Sampling,
    mask: Tensor | None = None,
) -> Iterator[list[int | None]]:
    """Yield the next token of every row, after each pass of the language model; None for a row
    that has come to its end. Ends with the last row.

    `embeddings` (B, T, hidden) is what is to be read after what `cache`, transformers', holds
    already. `mask` int64 (B, T): 0 at padding, on the left; None without any, and with a cache that
    holds something. Of what is said, all but the latest token is in the cache.
    """
    stops = stop_tokens(model)
    positions = None if mask is None else (mask.cumsum(-1) - 1).clamp(min=0)
    inputs = {"inputs_embeds": embeddings}
    ended = [False] * len(embeddings)
    for _ in range(sampling.max_new_tokens):
        output = model.language_model(
            **inputs,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        tokens = sampling.choose(output.logits[:, -1])
        said = tokens.tolist()  # the one time per token that a GPU is waited for
        ended = [end or token in stops for end, token in zip(ended, said, strict=True)]
        yield [None if end else token for end, token in zip(ended, said, strict=True)]
        if all(ended):
            return
        # A row that has ended goes on; nobody listens, and no row hears another.
        inputs = {"input_ids": tokens[:, None]}
        if mask is not None and positions is not None:
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            positions = positions[:, -1:] + 1


def new_cache() -> Any:
    """Return an empty cache of keys and values that grows with what is read."""
    from transformers import DynamicCache

    return DynamicCache()


def stop_tokens(model: Reader) -> set[int]:
    """Return the tokens that end an answer: ChatML's, the tokenizer's and the language model's."""
    tokenizer = model.tokenizer
    settings = getattr(model.language_model, "generation_config", None)
    of_model = getattr(settings, "eos_token_id", None)
    stops = {tokenizer.convert_tokens_to_ids(END), tokenizer.eos_token_id}
    stops |= set(of_model) if isinstance(of_model, list) else {of_model}
    return stops - {None, tokenizer.unk_token_id}


def check_length(model: Reader, tokens: int, sampling: Sampling) -> None:
    """Raise ValueError where `tokens` and an answer exceed what the language model can read."""
    limit = getattr(model.language_model.config, "max_position_embeddings", None)
    if limit is not None and tokens + sampling.max_new_tokens > limit:
        raise ValueError(
            f"The conversation has {tokens} tokens, {model.tokens_per_view} for each view of a "
            f"picture, and max_new_tokens={sampling.max_new_tokens}, but the language model reads "
            f"no more than {limit}; give fewer or smaller pictures, or ask for a shorter answer."
        )


def text_of(tokenizer: Any, said: Sequence[int]) -> str:
    """Return an answer as text without white space around it, as the original's `predict.py`."""
    # Older tokenizers would tidy spaces before punctuation, differently as the text grows.
    text: str = tokenizer.decode(said, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text.strip()


def pieces(tokenizer: Any, tokens: Iterable[int]) -> Iterator[str]:
    """Yield an answer's text as its tokens come; the pieces joined are its `text_of`.

    A character whose bytes are not all there yet, and white space that may be the last, wait.
    """
    said: list[int] = []
    shown = 0
    for token in tokens:
        said.append(token)
        text = text_of(tokenizer, said).rstrip("\N{REPLACEMENT CHARACTER}").rstrip()
        if len(text) > shown:
            yield text[shown:]
            shown = len(text)
    rest = text_of(tokenizer, said)[shown:]
    if rest:
        yield rest


def _left_padded(
    rows: Sequence[Sequence[int]], device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """Return ids int64 (B, T) and the mask (B, T), None where no row is padded."""
    longest = max(map(len, rows))
    padding = [longest - len(row) for row in rows]
    # Which token pads does not matter, as none sees it.
    ids = [[0] * pad + list(row) for pad, row in zip(padding, rows, strict=True)]
    mask = [[0] * pad + [1] * (longest - pad) for pad in padding]
    return (
        torch.tensor(ids, device=device),
        torch.tensor(mask, device=device) if any(padding) else None,
    )
