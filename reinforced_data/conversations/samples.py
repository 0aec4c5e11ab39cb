"""From a conversation to what a model is trained on: token ids, labels, pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.models.fastvlm.prompt import IMAGE_TOKEN_INDEX, encode_conversation
from zoo.models.fastvlm.views import Views
from zoo.models.preprocess import open_image
from zoo.reinforced_data.conversations.conversation import Conversation, with_picture_at_edge
from zoo.reinforced_data.randomness import keyed_rng

IGNORED = -100
"""Label where nothing is to be said (`constants.py` of LLaVA)."""


@dataclass(frozen=True)
class Example:
    """One conversation, ready for a batch."""

    ids: np.ndarray
    """int64 (T,), IMAGE_TOKEN_INDEX once for every visual token."""
    labels: np.ndarray
    """int64 (T,): the ids that the model is to say, else IGNORED; not shifted."""
    views: Tensor
    """uint8 (V, 3, S, S) of all pictures, in their order."""


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Makes examples of conversations."""

    tokenizer: Any
    views: Views
    tokens_per_view: int
    max_length: int
    """Tokens of an example, visual ones too. A longer conversation ends with the last answer that
    fits; its other pictures are left out."""
    random_image_position: bool
    """Put the picture behind the question half of the time, and else before it, where it always
    stands otherwise (arXiv 2412.13303, D.1)."""
    seed: int

    def __call__(self, conversation: Conversation, showing: int) -> Example:
        """Return the example of a conversation; `showing` is its place in the order.

        Raises ValueError, the predicate of a sentence, for a damaged picture, and where not even
        the first answer fits.
        """
        messages = with_picture_at_edge(conversation.messages, last=self._puts_last(showing))
        pictures = [self._views_of(data, i) for i, data in enumerate(conversation.pictures)]
        visual_tokens = [len(views) * self.tokens_per_view for views in pictures]
        prompt = encode_conversation(self.tokenizer, messages, visual_tokens)
        length = self._length(np.array(prompt.is_answer))
        ids = np.array(prompt.ids[:length])
        labels = np.where(prompt.is_answer[:length], ids, IGNORED)
        named = int((ids == IMAGE_TOKEN_INDEX).sum()) // self.tokens_per_view
        size = self.views.preprocessing.image_size
        none = torch.empty(0, 3, size, size, dtype=torch.uint8)
        return Example(ids, labels, torch.cat([none, *pictures])[:named])

    def _puts_last(self, showing: int) -> bool:
        if not self.random_image_position:
            return False
        return bool(keyed_rng(self.seed, "image position", showing).random() < 0.5)

    def _views_of(self, data: bytes, number: int) -> Tensor:
        try:
            return self.views.pixels(open_image(data))
        except ValueError as error:
            raise ValueError(f"has no usable picture {number + 1}: {error}") from error

    def _length(self, is_answer: np.ndarray) -> int:
        """Up to the end of the last answer that fits."""
        ends = np.flatnonzero(is_answer & ~np.append(is_answer[1:], False)) + 1
        fitting = ends[ends <= self.max_length]
        if not len(fitting):
            raise ValueError(
                f"is too long: its first answer ends at token {ends[0]}, but max_length is "
                f"{self.max_length}."
            )
        return int(fitting[-1])
