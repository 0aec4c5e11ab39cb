"""What is timed: a vision-language model that answers with one token, in parts and as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

Part = Literal["decode_preprocess", "vision", "projector", "prefill", "first_token"]
PARTS: tuple[Part, ...] = ("decode_preprocess", "vision", "projector", "prefill", "first_token")

Lap = Callable[[Part], None]
"""Called at the end of each part, in their order."""

QUESTION = "Describe the picture."


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a row of the table says of a candidate."""

    model: str
    image_size: int
    """Side in pixels of what the tower sees of a picture, all tiles together."""
    visual_tokens: int
    text_tokens: int
    """Of the prompt, the conversation's frame included."""
    language_model: str
    dtype: str
    """Of tower and language model; int8 is the language model's alone."""
    device: str
    tower_parameters: int


class Candidate(Protocol):
    """A model with its preprocessing and prompt."""

    language_model: Any
    """transformers' causal language model."""

    @property
    def description(self) -> Description: ...

    def staged(self, picture: Path, lap: Lap) -> int:
        """Return the first token, calling `lap` after each of `PARTS`."""
        ...

    def first_token(self, picture: Path) -> Any:
        """Answer with one token, through the library's public way from a file to an answer."""
        ...
