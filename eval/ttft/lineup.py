"""Who runs: zoo's model at every size and dtype, and the peers around its language model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from zoo.eval.ttft import peers
from zoo.eval.ttft.candidate import Candidate
from zoo.eval.ttft.memory import activation_bytes, language_model_parameters, why_not
from zoo.eval.ttft.ours import ZooCandidate, at_size, convnext_of
from zoo.eval.ttft.published import (
    CONVNEXT_L,
    LLAVA_1_5,
    LLAVA_ONEVISION,
    SIGLIP_SO400M,
    TRANSFORMERS,
)
from zoo.models.card import VisionLanguageCard
from zoo.models.devices import chosen_device
from zoo.models.fastvlm.load import load_vision_language_model
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.registry import get_card_of

Peer = Literal[
    "transformers",
    "transformers-bfloat16",
    "llava-1.5",
    "siglip-so400m",
    "llava-onevision",
    "convnext-l",
]
PEERS: tuple[Peer, ...] = (
    "transformers",
    "transformers-bfloat16",
    "llava-1.5",
    "siglip-so400m",
    "llava-onevision",
    "convnext-l",
)
DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int8": torch.int8,
}
CONVNEXT_SIZE = 512
"""256 tokens, as many as FastViTHD has at 1024 pixels."""

# Millions of parameters of a tower and pixels of a picture with all its tiles.
_TOWERS = {
    "transformers": (125, 0),
    "transformers-bfloat16": (125, 0),
    "llava-1.5": (304, 336**2),
    "siglip-so400m": (430, 384**2),
    "llava-onevision": (430, 10 * 384**2),
    "convnext-l": (200, CONVNEXT_SIZE**2),
}
_TOKENS = {"llava-1.5": 576, "siglip-so400m": 729, "llava-onevision": 7371, "convnext-l": 256}
_PROMPT_TOKENS = 64

Skipped = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Lineup:
    """What is compared in one table: everything around one language model on one device."""

    model: str
    """Of `zoo list`: a FastVLM."""
    image_sizes: tuple[int, ...]
    device: str = "cpu"
    dtypes: tuple[str, ...] = ("float32",)
    """Of zoo's model; int8 is that of the language model's linear layers. The peers run in the
    first that is floating point."""
    peers: tuple[Peer, ...] = PEERS
    weights: str | Path | None = None

    def __post_init__(self) -> None:
        for dtype in self.dtypes:
            if dtype not in DTYPES:
                raise ValueError(f"The dtype is '{dtype}'; give {', '.join(DTYPES)}.")
        if not self.image_sizes or not self.dtypes:
            raise ValueError("A comparison needs an image size and a dtype at the least.")
        if self.peers and all(dtype == "int8" for dtype in self.dtypes):
            raise ValueError(
                "The peers need a floating-point dtype; add float32, or leave them out."
            )

    def candidates(self, on_skip: Skipped) -> Iterator[Candidate]:
        """Build what fits into the memory, one after the other; `on_skip` gets a sentence about
        what does not.

        Raises what `load_model` raises.
        """
        card = get_card_of(VisionLanguageCard, self.model)
        floating = next((dtype for dtype in self.dtypes if dtype != "int8"), None)
        for dtype in self.dtypes:
            if not self._fits(card, dtype, None, on_skip):
                continue
            model = self._load(dtype)
            for size in self.image_sizes:
                yield ZooCandidate(at_size(model, size), card.name, dtype)
            if dtype == floating:
                yield from self._peers(model, dtype, on_skip)
        if "transformers-bfloat16" in self.peers and floating != "bfloat16":
            yield from self._published(card, on_skip)

    def _load(self, dtype: str) -> VisionLanguageModel:
        model = load_vision_language_model(
            self.model, weights=self.weights, device=self.device, dtype=DTYPES[dtype]
        )
        return at_size(model, self.image_sizes[0])

    def _peers(self, of: VisionLanguageModel, dtype: str, on_skip: Skipped) -> Iterator[Candidate]:
        small = of.card.language.hidden_size < 512
        for peer in self.peers:
            if peer == "transformers-bfloat16" or not self._fits(of.card, dtype, peer, on_skip):
                continue
            if peer == "convnext-l":
                # A small one's stride is the same: the tokens are those of the first size.
                size = self.image_sizes[0] if small else CONVNEXT_SIZE
                model = convnext_of(of, large=not small, image_size=size)
                yield ZooCandidate(model, _NAMES[peer], dtype)
                continue
            for shape in _shapes(peer, of, self.image_sizes, small=small):
                yield peers.TransformersCandidate(shape, of, _NAMES[peer], dtype)

    def _published(self, card: VisionLanguageCard, on_skip: Skipped) -> Iterator[Candidate]:
        """transformers loads the published weights in the bfloat16 that they are stored in."""
        peer = "transformers-bfloat16"
        if not self._fits(card, "bfloat16", peer, on_skip):
            return
        of = self._load("bfloat16")
        for shape in peers.fastvlm(of, self.image_sizes):
            yield peers.TransformersCandidate(shape, of, _NAMES[peer], "bfloat16")

    def _fits(
        self, card: VisionLanguageCard, dtype: str, peer: Peer | None, on_skip: Skipped
    ) -> bool:
        problem = why_not(
            _needed_bytes(card, dtype, peer, self.image_sizes), chosen_device(self.device)
        )
        if problem is not None:
            name = peer or card.name
            on_skip(f"{name} in {dtype} with the language model of {card.name}: {problem}.")
        return problem is None


_NAMES: dict[Peer, str] = {
    "transformers": TRANSFORMERS,
    "transformers-bfloat16": f"{TRANSFORMERS}, as published",
    "llava-1.5": LLAVA_1_5,
    "siglip-so400m": SIGLIP_SO400M,
    "llava-onevision": LLAVA_ONEVISION,
    "convnext-l": CONVNEXT_L,
}


def _shapes(
    peer: Peer, of: VisionLanguageModel, image_sizes: Sequence[int], *, small: bool
) -> list[peers.Shape]:
    if peer == "transformers":
        return peers.fastvlm(of, image_sizes)
    build = {
        "llava-1.5": peers.llava_1_5,
        "siglip-so400m": peers.siglip_so400m,
        "llava-onevision": peers.llava_onevision,
    }
    return [build[peer](of, small=small)]


def _needed_bytes(
    card: VisionLanguageCard, dtype: str, peer: Peer | None, image_sizes: Sequence[int]
) -> int:
    """What building a candidate and one answer of it take, besides what is built already.

    Not a language model's weights in oneDNN's order: they are held where there is room for them.
    """
    language, image_size = language_model_parameters(card), max(image_sizes)
    tower, pixels = _TOWERS[peer or "transformers"]
    tokens = _TOKENS.get(peer or "", (image_size // card.stride) ** 2) + _PROMPT_TOKENS
    # int8 is made from float32; zoo has a tower for each size, held in oneDNN's order, too.
    width = {"int8": 5, "float32": 4}.get(dtype, 2)
    parameters = tower * 10**6 * (2 * len(image_sizes) + 2 if peer is None else 1)
    if peer is None or peer == "transformers-bfloat16":
        parameters += language
    activations = activation_bytes(card, tokens=tokens, pixels=pixels or image_size**2)
    return parameters * width + activations
