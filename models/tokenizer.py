"""CLIP's byte-pair tokenizer, whole or cut to its first merges for the small models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

from torch import Tensor

from zoo.models.card import CLIP_VOCABULARY_SIZE

if TYPE_CHECKING:
    from open_clip.tokenizer import SimpleTokenizer

Tokenize = Callable[[str | Sequence[str], int | None], Tensor]
"""Texts, and a length if another than the text tower's → token ids int64 (N, context_length)."""

_BYTE_TOKENS = 512
"""256 bytes, each inside a word and at its end, come before the first merge."""


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """Text → token ids: start, byte pairs, end, padded with 0 to `context_length`.

    A text that is too long is cut and keeps the end token last, as in open_clip. The end token
    is the largest id of the vocabulary, so that `ids.argmax(-1)` finds it.

    A vocabulary smaller than CLIP's 49408 keeps the first `vocab_size - 514` merges of the same
    byte-pair table: merges are ordered by rank, so the cut table is a complete tokenizer.
    """

    context_length: int = 77
    vocab_size: int = CLIP_VOCABULARY_SIZE

    def __call__(self, texts: str | Sequence[str], context_length: int | None = None) -> Tensor:
        """Return int64 (N, context_length); one text counts as a list of one.

        Raises ValueError for an empty list and for entries that are not text.
        """
        texts = checked_texts(texts)
        return _byte_pairs(self.vocab_size)(texts, context_length or self.context_length)

    def decode(self, tokens: Tensor) -> str:
        """Return the text of ids (T,), special tokens and padding left out."""
        first_special = self.vocab_size - 2
        ids = [int(token) for token in tokens]
        if first_special + 1 in ids:
            ids = ids[: ids.index(first_special + 1)]
        return _byte_pairs(self.vocab_size).decode([i for i in ids if i < first_special]).strip()


def checked_texts(texts: str | Sequence[str]) -> list[str]:
    """Return a list of texts; one text counts as a list of one.

    Raises ValueError for an empty list and for entries that are not text.
    """
    texts = [texts] if isinstance(texts, str) else list(texts)
    if not texts:
        raise ValueError("The list of texts is empty; give at least one text or label.")
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"Texts are strings, but {text!r} is {type(text).__name__}.")
    return texts


@cache
def _byte_pairs(vocab_size: int) -> SimpleTokenizer:
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    if vocab_size != CLIP_VOCABULARY_SIZE:
        _keep_first_merges(tokenizer, vocab_size - _BYTE_TOKENS - 2)
    return tokenizer


def _keep_first_merges(tokenizer: SimpleTokenizer, merges: int) -> None:
    tokenizer.bpe_ranks = dict(islice(tokenizer.bpe_ranks.items(), merges))
    words = list(islice(tokenizer.encoder, _BYTE_TOKENS + merges))
    words += ["<start_of_text>", "<end_of_text>"]
    tokenizer.encoder = {word: index for index, word in enumerate(words)}
    tokenizer.decoder = dict(enumerate(words))
    tokenizer.vocab_size = len(words)
    tokenizer.all_special_ids = [len(words) - 2, len(words) - 1]
    tokenizer.sot_token_id, tokenizer.eot_token_id = tokenizer.all_special_ids
