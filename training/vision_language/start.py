"""The model that visual instruction tuning begins with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from zoo.models.card import LanguageModelConfig, VisionLanguageCard, VisionTowerCard
from zoo.models.fastvlm.build import build_around, build_vision_language_model
from zoo.models.fastvlm.language_model import import_transformers
from zoo.models.fastvlm.load import load_vision_language_model, load_vision_tower
from zoo.models.fastvlm.prompt import SPECIAL_TOKENS
from zoo.models.fastvlm.views import Views
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.registry import get_card_of, list_models
from zoo.training.recipes.recipe import Recipe
from zoo.training.vision_language.settings import VisionLanguage


def starting_model(recipe: Recipe, settings: VisionLanguage) -> VisionLanguageModel:
    """Return the recipe's model, float32, in the form that its weights have.

    From `init`, or random from the seed but for a language model and a tower from elsewhere.
    Raises what `load_model` raises for an unknown name or weights that do not fit.
    """
    torch.manual_seed(recipe.seed)
    card = get_card_of(VisionLanguageCard, recipe.model)
    if settings.multi_scale is not None:
        card = replace(card, multi_scale=settings.multi_scale)
    if recipe.init is not None:
        model = load_vision_language_model(
            recipe.model, weights=recipe.init, reparameterize=False, dtype=torch.float32
        )
    elif settings.language_model is not None:
        model = _around(settings.language_model, card)
    else:
        model = build_vision_language_model(card).eval()
    if settings.image_encoder is not None:
        _put_tower(model, settings.image_encoder)
    _set_views(model, settings)
    return model


def _around(source: str, card: VisionLanguageCard) -> VisionLanguageModel:
    """Return a random tower and projector of `card` in front of a language model from elsewhere."""
    language_model, tokenizer = read_language_model(source)
    card = replace(card, language=_configuration_of(language_model))
    return build_around(
        card, language_model, Views(preprocessing=card.preprocessing), tokenizer
    ).eval()


def _configuration_of(language_model: Any) -> LanguageModelConfig:
    """What decides the architecture, and not where it came from."""
    numbers = json.loads(language_model.config.to_json_string(use_diff=False))
    for name in ("_name_or_path", "architectures", "transformers_version", "dtype", "torch_dtype"):
        numbers.pop(name, None)
    return LanguageModelConfig(model_type=numbers.pop("model_type"), numbers=numbers)


def read_language_model(source: str) -> tuple[Any, Any]:
    """Return transformers' causal language model, float32, and its tokenizer.

    `source` is a folder or a name on the Hugging Face hub. Raises ValueError where there is none,
    or its tokenizer does not know the tokens of ChatML.
    """
    transformers = import_transformers()
    try:
        language_model = transformers.AutoModelForCausalLM.from_pretrained(source)
        tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise ValueError(
            f"'{source}' cannot be read as a causal language model with its tokenizer ({reason}); "
            "give a folder that holds both, or a name on the Hugging Face hub."
        ) from error
    unknown = [token for token in SPECIAL_TOKENS if token not in tokenizer.get_vocab()]
    if unknown:
        raise ValueError(
            f"The tokenizer of '{source}' does not know {', '.join(unknown)}, of which FastVLM's "
            "prompt is made (ChatML); take a model with them, such as Qwen/Qwen2-0.5B-Instruct."
        )
    return language_model.float(), tokenizer


def _put_tower(model: VisionLanguageModel, weights: Path) -> None:
    """Put other weights into the tower, and normalise pictures as these expect."""
    tower = load_vision_tower(_tower_of(model.card), weights=weights, reparameterize=False)
    tower.image_encoder.reset_classifier(0)  # pyright: ignore[reportCallIssue]
    model.image_encoder = tower.image_encoder
    expected = tower.preprocessing
    preprocessing = replace(model.preprocessing, mean=expected.mean, std=expected.std)
    model.set_views(replace(model.views, preprocessing=preprocessing))


def _tower_of(card: VisionLanguageCard) -> str:
    """Return the name under which the tower of `card` is loaded alone."""
    towers = (one for one in list_models() if isinstance(one, VisionTowerCard))
    return next(one.name for one in towers if one.image == card.image)


def _set_views(model: VisionLanguageModel, settings: VisionLanguage) -> None:
    preprocessing = replace(
        model.preprocessing,
        image_size=settings.image_size or model.preprocessing.image_size,
        aspect=settings.aspect or model.preprocessing.aspect,
    )
    grids = model.views.grids if settings.grids is None else settings.grids
    model.set_views(replace(model.views, preprocessing=preprocessing, grids=grids))
