"""Nucleus sampling whose chance depends on names alone, never on a global generator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zoo.reinforced_data.randomness import keyed_rng

_ATTEMPTS = 10


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a model that writes captions draws its next word.

    top_p and temperature are those of MobileCLIP2's captioners (`ml-mobileclip/README.md`,
    "Synthetic captions": top-p 0.9).
    """

    top_p: float = 0.9
    """The next token is one of the most probable that have this probability together."""
    temperature: float = 1.0
    """Divides the logits: below 1 the likely becomes likelier."""
    max_tokens: int = 77
    """The longest caption, in tokens of the model."""

    def __post_init__(self) -> None:
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; give a number above 0, at most 1.")
        if not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}; give a number above 0.")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens is {self.max_tokens}; give at least 1.")

    def draw(self, logits: Tensor, rng: np.random.Generator) -> Tensor:
        """Return one token id for each row of `logits` (N, vocabulary), as int64 (N, 1).

        The nucleus is the smallest set of most probable tokens that reaches top_p (Holtzman et
        al. 2020, section 3.1); one uniform number of `rng` a row chooses in it.
        """
        probabilities = torch.softmax(logits.float() / self.temperature, dim=-1)
        ordered, tokens = probabilities.sort(dim=-1, descending=True, stable=True)
        cumulative = ordered.cumsum(dim=-1)
        # Rounding may leave the last sum below a top_p of 1.
        top_p = torch.full_like(cumulative[:, :1], self.top_p)
        last = torch.searchsorted(cumulative, top_p).clamp(max=cumulative.shape[1] - 1)
        uniform = torch.from_numpy(rng.random((len(logits), 1))).to(cumulative)
        threshold = uniform * cumulative.gather(1, last)
        place = torch.searchsorted(cumulative, threshold, right=True)
        return tokens.gather(1, place.minimum(last))


def sample_captions(
    write: Callable[[np.random.Generator, int], list[str]], *, seed: int, key: str, count: int
) -> tuple[str, ...]:
    """Return `count` captions that `write(generator, how many)` makes of the picture `key`.

    Each becomes one line. Empty ones are drawn again; ValueError names the picture when ten
    attempts were not enough.
    """
    captions: list[str] = []
    for attempt in range(_ATTEMPTS):
        rng = keyed_rng(seed, "captions", key, attempt)
        written = (" ".join(text.split()) for text in write(rng, count - len(captions)))
        captions += filter(None, written)
        if len(captions) == count:
            return tuple(captions)
    raise ValueError(
        f"The captioner writes nothing about the picture '{key}' in {_ATTEMPTS} attempts; "
        "give another prompt or captioner."
    )
