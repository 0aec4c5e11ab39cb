"""zoo's own models as candidates, and towers of timm in the same assembly."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from zoo.eval.ttft.candidate import QUESTION, Description, Lap
from zoo.models.card import ImageEncoderConfig, VisionLanguageCard
from zoo.models.fastvlm.language_model import tiny_tokenizer
from zoo.models.fastvlm.projector import build_projector
from zoo.models.fastvlm.prompt import encode_opening, encode_question, with_images
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.image_encoder import build_image_encoder


class ZooCandidate:
    """A `VisionLanguageModel` from a file to its first token."""

    def __init__(self, model: VisionLanguageModel, name: str, dtype: str) -> None:
        self.language_model = model.language_model
        self._model = model
        self._name = name
        self._dtype = dtype
        weight = next(model.projector.parameters())
        self._device, self._weight_dtype = weight.device, weight.dtype
        question = with_images(QUESTION, 1)
        tokens = encode_opening(model.tokenizer) + encode_question(
            model.tokenizer, question, [model.tokens_per_view]
        )
        self._ids = torch.tensor([tokens], device=self._device)

    @property
    def description(self) -> Description:
        """What the table says of it."""
        visual_tokens = self._model.tokens_per_view
        return Description(
            model=self._name,
            image_size=self._model.preprocessing.image_size,
            visual_tokens=visual_tokens,
            text_tokens=self._ids.shape[1] - visual_tokens,
            language_model=language_model_name(self._model.card),
            dtype=self._dtype,
            device=str(self._device),
            tower_parameters=sum(p.numel() for p in self._model.image_encoder.parameters()),
        )

    @torch.no_grad()
    def staged(self, picture: Path, lap: Lap) -> int:
        """Return the first token, calling `lap` after each part. Raises what `preprocess` raises
        for what is no picture."""
        model = self._model
        views = model.preprocess(picture).to(self._device, self._weight_dtype)
        lap("decode_preprocess")
        features = model.image_features(views)
        lap("vision")
        visual_tokens = model.projector(features)
        lap("projector")
        embeddings = model.embed(self._ids, visual_tokens)
        output = self.language_model(inputs_embeds=embeddings, use_cache=True, logits_to_keep=1)
        lap("prefill")
        token = int(output.logits[0, -1].argmax())
        lap("first_token")
        return token

    def first_token(self, picture: Path) -> str:
        """Answer with one token by `generate`."""
        return self._model.generate(picture, QUESTION, max_new_tokens=1)


def at_size(model: VisionLanguageModel, image_size: int) -> VisionLanguageModel:
    """Return `model` for pictures of another size, with a tower of its own, which is prepared for
    that size, and the other parts shared; with fastvlm-tiny's tokenizer where it has none, as with
    random weights.

    Raises ValueError for a size that is no multiple of the tower's stride.
    """
    tokenizer = model.tokenizer if model.has_tokenizer else tiny_tokenizer()
    sharing = VisionLanguageModel(
        model.card,
        copy.deepcopy(model.image_encoder),
        model.projector,
        model.language_model,
        model.views,
        tokenizer,
    )
    preprocessing = replace(model.preprocessing, image_size=image_size)
    sharing.set_views(replace(model.views, preprocessing=preprocessing))
    return sharing.eval()


def convnext_of(model: VisionLanguageModel, *, large: bool, image_size: int) -> VisionLanguageModel:
    """Return ConvNeXt-L (`large`) or, for quick runs, ConvNeXt-Atto in the place of the tower of
    `model`, randomly initialised, with the language model shared.

    Stride 32 and CLIP's weights' 1536 features: the ConvNeXt-L rows of arXiv 2412.13303.
    """
    name, width = ("convnext_large", 1536) if large else ("convnext_atto", 320)
    config = ImageEncoderConfig(timm_name=name)
    card = replace(model.card, image=config, feature_dim=width, stride=32)
    preprocessing = replace(model.preprocessing, image_size=image_size)
    parameter = next(model.projector.parameters())
    assembled = VisionLanguageModel(
        card,
        build_image_encoder(config, embed_dim=0).to(parameter.device, parameter.dtype),
        build_projector(width, card.language.hidden_size).to(parameter.device, parameter.dtype),
        model.language_model,
        replace(model.views, preprocessing=preprocessing),
        model.tokenizer,
    )
    return assembled.eval()


def language_model_name(card: VisionLanguageCard) -> str:
    """Return e.g. `qwen2 24×896`: type, layers and width."""
    numbers: Any = card.language.numbers
    return f"{card.language.model_type} {numbers['num_hidden_layers']}×{numbers['hidden_size']}"
