"""open_clip's CoCa, as the training loop needs a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.card import (
    CLIP_VOCABULARY_SIZE,
    ImageEncoderConfig,
    ImageTextCard,
    TextEncoderConfig,
)
from zoo.models.checkpoint import read_checkpoint
from zoo.models.image_text_model import ImageTextModel
from zoo.models.preprocess import Preprocessing
from zoo.models.tokenizer import Tokenizer
from zoo.reinforced_data.engine.open_clip_models import published_preprocessing

_FOLDER = "local-dir:"


class CocaModel(ImageTextModel):
    """A CoCa with card, preprocessing and tokenizer.

    Its parts have the names that open_clip gives them, so that its weights are an open_clip file:
    `visual` and `text` return (features (B, D), tokens (B, N, W)), `text_decoder` takes both kinds
    of tokens and returns logits (B, T, vocabulary).
    """

    def __init__(self, card: ImageTextCard, coca: Any) -> None:
        nn.Module.__init__(self)  # not the parent's, which would name the parts otherwise
        self.card = card
        self.visual: nn.Module = coca.visual
        self.text: nn.Module = coca.text
        self.text_decoder: nn.Module = coca.text_decoder
        self.logit_scale = coca.logit_scale
        self._preprocess = card.preprocessing
        self._tokenizer = Tokenizer(context_length=card.context_length)

    @property
    def image_encoder(self) -> nn.Module:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The image tower, by the name that it has in other models."""
        return self.visual

    @property
    def text_encoder(self) -> nn.Module:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The text tower, by the name that it has in other models."""
        return self.text

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """Return features (B, embed_dim) of preprocessed images (B, 3, size, size)."""
        features, _ = self.visual(image)
        return F.normalize(features, dim=-1) if normalize else features

    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        """Return features (B, embed_dim) of token ids int64 (B, context_length)."""
        features, _ = self.text(text)
        return F.normalize(features, dim=-1) if normalize else features


def build_coca(
    name: str, *, init: str | Path | None = None, device: str | torch.device | None = None
) -> CocaModel:
    """Return the CoCa that open_clip calls `name`, or `local-dir:FOLDER` describes.

    `init` is a file with its weights; None draws random ones. Pictures are prepared as for the
    published weights of that name, or as the folder's open_clip_config.json says. Raises ValueError
    for a name that is not a CoCa with CLIP's tokenizer and for weights that do not fit.
    """
    coca = _create(name)
    if init is None:
        # open_clip 3.3.0 leaves it as the memory was; its own formula, which it never calls.
        projection = coca.text_decoder.text_projection
        nn.init.normal_(projection, std=projection.shape[0] ** -0.5)
    else:
        _load(coca, Path(init), name)
    return CocaModel(_card(name, coca), coca).to(device)


def _create(name: str) -> Any:
    import open_clip

    is_folder = name.startswith(_FOLDER)
    if not is_folder and name not in open_clip.list_models():
        known = [one for one in open_clip.list_models() if one.startswith("coca")]
        raise ValueError(
            f"open_clip has no model {name!r}; a captioner is one of {', '.join(known)}, or "
            f"{_FOLDER}FOLDER with an open_clip_config.json."
        )
    if is_folder and not (Path(name.removeprefix(_FOLDER)) / "open_clip_config.json").is_file():
        raise FileNotFoundError(
            f"'{name.removeprefix(_FOLDER)}' has no open_clip_config.json that describes a CoCa."
        )
    preprocessing = None if is_folder else published_preprocessing(name)
    coca: Any = open_clip.create_model(
        name, load_weights=False, force_preprocess_cfg=preprocessing, pretrained_hf=False
    )
    if getattr(getattr(coca, "text", None), "vocab_size", None) != CLIP_VOCABULARY_SIZE or (
        not hasattr(coca, "text_decoder")
    ):
        raise ValueError(
            f"open_clip's {name} is not a CoCa with CLIP's tokenizer, so that it cannot be trained "
            "to write captions; give for example coca_ViT-B-32."
        )
    return coca


def _load(coca: Any, path: Path, name: str) -> None:
    try:
        coca.load_state_dict(read_checkpoint(path).state)
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[2].strip()[:200]
        raise ValueError(f"'{path}' does not fit open_clip's {name}: {reason}") from error


def _card(name: str, coca: Any) -> ImageTextCard:
    settings = coca.visual.preprocess_cfg
    size = settings["size"]
    return ImageTextCard(
        name=name,
        family="CoCa",
        paper="arXiv 2205.01917",
        summary="A captioner of open_clip's",
        embed_dim=coca.text.output_dim,
        image=ImageEncoderConfig(timm_name=f"open_clip {name}"),
        text=TextEncoderConfig(
            width=coca.text.width,
            heads=coca.text.heads,
            blocks=("attention",) * len(coca.text.transformer.resblocks),
            causal=True,
            context_length=coca.text.context_length,
        ),
        preprocessing=Preprocessing(
            image_size=size if isinstance(size, int) else size[0],
            mean=tuple(settings["mean"]),
            std=tuple(settings["std"]),
            interpolation="bilinear" if settings["interpolation"] == "bilinear" else "bicubic",
        ),
    )
