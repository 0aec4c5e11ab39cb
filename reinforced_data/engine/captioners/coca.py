"""Captions by open_clip's CoCa."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo.reinforced_data.engine.captioners.sampling import Sampling, sample_captions
from zoo.reinforced_data.engine.frozen import frozen
from zoo.reinforced_data.engine.open_clip_models import load_open_clip

_SHORTEST = 5
"""Tokens with the start token before a caption may end (open_clip `CoCa.generate`)."""


class CocaCaptioner:
    """Lets a CoCa write about pictures, and keeps the first sentence.

    The model and its loop are those of `CoCa.generate` with top-p sampling, which open_clip
    3.3.0 refuses beside transformers 5, and which draws from torch's global generator. One
    picture at a time, all its captions together: neighbours change neither chance nor rounding.
    """

    def __init__(
        self,
        model: str,
        weights: str | None,
        *,
        sampling: Sampling,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        """Load `model` with `weights` as `load_open_clip` does, with its errors.

        Raises ValueError too for a model that is no CoCa with CLIP's tokenizer.
        """
        loaded = load_open_clip(model, weights)
        tokenizer: Any = loaded.tokenize
        if not (hasattr(loaded.model, "text_decoder") and hasattr(tokenizer, "eot_token_id")):
            raise ValueError(
                f"open_clip's {model} is not a CoCa with CLIP's tokenizer; "
                "give for example open_clip:coca_ViT-L-14@mscoco_finetuned_laion2b_s13b_b90k."
            )
        self._model = frozen(loaded.model).to(device)
        self._device = torch.device(device)
        self._tokenizer = tokenizer
        self._prepare, self._normalize = loaded.preparation, loaded.normalize
        self._sampling = sampling
        self._seed = seed
        self._name = {"model": model.rpartition("/")[2], "pretrained": loaded.pretrained}

    @property
    def settings(self) -> dict[str, Any]:
        """What the captions depend on, as JSON values."""
        return {"name": "open_clip", **self._name, **asdict(self._sampling), "seed": self._seed}

    def captions(
        self, images: Sequence[Image.Image], keys: Sequence[str], count: int
    ) -> list[tuple[str, ...]]:
        """Return `count` captions of each RGB picture, a sentence each.

        Raises ValueError that names a picture of which the model writes nothing.
        """
        return [self._caption(*named, count) for named in zip(images, keys, strict=True)]

    @torch.inference_mode()
    def _caption(self, image: Image.Image, key: str, count: int) -> tuple[str, ...]:
        pixels = self._normalize(self._prepare(image)[None].to(self._device))
        _, tokens = self._model._encode_image(pixels)

        def write(rng: np.random.Generator, wanted: int) -> list[str]:
            ids = self._write(tokens.expand(wanted, -1, -1), rng)
            return [self._first_sentence(row) for row in ids.tolist()]

        return sample_captions(write, seed=self._seed, key=key, count=count)

    def _write(self, image_tokens: Tensor, rng: np.random.Generator) -> Tensor:
        """Continue the start token for every row of (N, tokens, width); ids int64 (N, length)."""
        end = self._tokenizer.eot_token_id
        start = torch.tensor([[self._tokenizer.sot_token_id]], device=self._device)
        ids = start.repeat(len(image_tokens), 1)
        for _ in range(min(self._sampling.max_tokens, self._model.context_length)):
            _, text_tokens = self._model._encode_text(ids)
            logits = self._model.text_decoder(image_tokens, text_tokens)[:, -1]
            if ids.shape[1] < _SHORTEST:
                logits[:, end] = -torch.inf
            ids = torch.cat([ids, self._sampling.draw(logits, rng)], dim=1)
            if (ids == end).any(dim=1).all():
                break
        return ids

    def _first_sentence(self, ids: list[int]) -> str:
        # Text between the start and end tokens, up to the first full stop, as Apple's README.
        end = self._tokenizer.eot_token_id
        words = ids[1 : ids.index(end)] if end in ids else ids[1:]
        return re.split(r"\.", self._tokenizer.decode(words))[0]
