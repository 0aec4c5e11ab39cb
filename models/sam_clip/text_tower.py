"""Text towers of SAM-CLIP: that of its CLIP teacher, ours or open_clip's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.card import OpenClipTextConfig, TextEncoderConfig, TextTowerConfig
from zoo.models.mobileclip.text_encoder import TextEncoder
from zoo.models.open_clip_weights import clear_errors
from zoo.models.tokenizer import Tokenize, Tokenizer, checked_texts

_NO_PICTURES = {"layers": 1, "width": 64, "head_width": 64, "patch_size": 1, "image_size": 1}
"""The smallest image tower: open_clip builds none of its text towers without one."""


def build_text_tower(config: TextTowerConfig, embed_dim: int) -> nn.Module:
    """Return the tower (B, T) int64 → (B, embed_dim) with random weights.

    One of open_clip's holds values even in a `torch.device("meta")` block: its mask is no part of
    the weights that fill it later.
    """
    if isinstance(config, OpenClipTextConfig):
        with torch.device("cpu"), clear_errors(config.architecture, None):
            return _open_clip_tower(config, embed_dim)
    assert isinstance(config, TextEncoderConfig)
    return TextEncoder(config, embed_dim)


def text_tokenizer(config: TextTowerConfig) -> Tokenize:
    """Return what makes the tower's token ids of texts."""
    if isinstance(config, OpenClipTextConfig):
        return OpenClipTokenizer(config)
    return Tokenizer(context_length=config.context_length, vocab_size=config.vocab_size)


def text_as_json(config: TextTowerConfig) -> str:
    """Return what `text_from_json` reads."""
    return json.dumps(asdict(config))


def text_from_json(text: str) -> TextTowerConfig:
    """Return the configuration that the header of a file holds."""
    fields = json.loads(text)
    if "architecture" in fields:
        return OpenClipTextConfig(**fields)
    return TextEncoderConfig(**{**fields, "blocks": tuple(fields["blocks"])})


def open_clip_text_config(
    name: str, model_config: Mapping[str, Any], *, quick_gelu: bool
) -> OpenClipTextConfig:
    """Return the text tower of open_clip's `name`, whose configuration is `model_config`."""
    tower = dict(model_config["text_cfg"])
    # One feature of every text, from the weights at hand.
    tower["output_tokens"] = False
    if "hf_model_name" in tower:
        tower["hf_model_pretrained"] = False
    sizes = {key: tower[key] for key in ("context_length", "vocab_size") if key in tower}
    quick_gelu = quick_gelu or bool(model_config.get("quick_gelu"))
    return OpenClipTextConfig(architecture=name, tower=tower, quick_gelu=quick_gelu, **sizes)


@dataclass(frozen=True)
class OpenClipTokenizer:
    """Texts → token ids, as the tower's model of open_clip makes them.

    It is made when it is first used: those of SigLIP and others lie on the Hugging Face hub.
    """

    config: OpenClipTextConfig

    def __call__(self, texts: str | Sequence[str], context_length: int | None = None) -> Tensor:
        """Return int64 (N, context_length); one text counts as a list of one.

        Raises ValueError for an empty list and for entries that are not text, FileNotFoundError
        for a tokenizer that cannot be fetched.
        """
        texts = checked_texts(texts)
        return self._tokenize(texts, context_length or self.config.context_length)

    @cached_property
    def _tokenize(self) -> Any:
        import open_clip

        name, tower = self.config.architecture, self.config.tower
        with clear_errors(name, None):
            if ":" in name and not tower.get("hf_tokenizer_name"):
                # CLIP's own, whose table open_clip brings along: the place may be gone.
                return open_clip.SimpleTokenizer(
                    context_length=self.config.context_length, **tower.get("tokenizer_kwargs", {})
                )
            return open_clip.get_tokenizer(name)


def _open_clip_tower(config: OpenClipTextConfig, embed_dim: int) -> nn.Module:
    from open_clip import CustomTextCLIP

    vision: Any = _NO_PICTURES
    text: Any = dict(config.tower)
    return CustomTextCLIP(embed_dim, vision, text, quick_gelu=config.quick_gelu).text
