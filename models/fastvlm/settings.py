"""What a checkpoint's configuration says of a FastVLM: its language model and how it sees.

Read from the `config.json` of Apple's `llava_qwen2` and of transformers' `fast_vlm` folders, and
from the header of zoo's own files. What none of them says is the card's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zoo.models.card import LanguageModelConfig, MultiScale, Naming, VisionLanguageCard
from zoo.models.checkpoint import Checkpoint, read_json
from zoo.models.fastvlm.views import Views
from zoo.models.preprocess import Aspect, Preprocessing

Config = Mapping[str, Any]

CONFIG = "config.json"

_OWN = ("language", "grids", "multi_scale")
"""What the header of zoo's own files says, as JSON."""
_NOT_THE_LANGUAGE_MODELS = (
    "mm_", "image_", "tokenizer_", "use_mm_", "tune_mm_", "freeze_mm_", "unfreeze_mm_",
    "model_type", "architectures", "auto_map", "transformers_version", "dtype", "torch_dtype",
    "_name_or_path",
)  # fmt: skip
"""How the fields begin that LLaVA adds to its language model's, and those of bookkeeping."""


@dataclass(frozen=True)
class Settings:
    """What the weights depend on beside the card."""

    language: LanguageModelConfig
    views: Views
    multi_scale: MultiScale | None = None


def read_settings(card: VisionLanguageCard, checkpoint: Checkpoint, naming: Naming) -> Settings:
    """Return what the file, or the configuration beside it, says.

    Raises ValueError for a configuration that is damaged or that of another kind of model.
    """
    if naming == "zoo":
        return _own_settings(card, checkpoint)
    config = read_config(checkpoint)
    if config is None:
        return Settings(card.language, Views(preprocessing=card.preprocessing))
    if naming == "apple":
        return Settings(_apple_language(config), apple_views(config, card.preprocessing))
    _check_tower(card, config, checkpoint)
    return Settings(
        _transformers_language(config), _transformers_views(checkpoint, card.preprocessing)
    )


def read_config(checkpoint: Checkpoint) -> Config | None:
    """Return the `config.json` beside the weights, None where there is none."""
    path = (checkpoint.folder or Path()) / CONFIG
    return read_json(path) if checkpoint.folder and path.exists() else None


def apple_views(config: Config, preprocessing: Preprocessing) -> Views:
    """Return how LLaVA's configuration says that pictures are seen.

    The size is the last field of the tower's name, such as `mobileclip_l_1024`
    (`mobileclip_encoder.py`); `image_aspect_ratio` is "pad", "anyres" with the sizes of
    `image_grid_pinpoints`, or anything else for the centre (`process_images` in `mm_utils.py`).
    """
    size = str(config.get("mm_vision_tower", "")).rpartition("_")[2]
    if size.isdecimal():
        preprocessing = replace(preprocessing, image_size=int(size))
    aspect = config.get("image_aspect_ratio", preprocessing.aspect)
    if aspect == "anyres":
        return Views(preprocessing=preprocessing, grids=_grids(config, preprocessing.image_size))
    known: Aspect = "pad" if aspect == "pad" else "crop"
    return Views(preprocessing=replace(preprocessing, aspect=known))


def portable_numbers(numbers: Config) -> dict[str, Any]:
    """Return a configuration's numbers so that every version of transformers understands them.

    transformers 5 keeps the rotary base in `rope_parameters`, transformers 4 in `rope_theta`, with
    any stretching of it in `rope_scaling`; both read the latter two.
    """
    own = {
        name: value
        for name, value in numbers.items()
        if not name.startswith(_NOT_THE_LANGUAGE_MODELS)
    }
    rotary = own.pop("rope_parameters", None)
    if not isinstance(rotary, Mapping) or "rope_theta" not in rotary:
        return own if rotary is None else own | {"rope_parameters": rotary}
    own["rope_theta"] = rotary["rope_theta"]
    if rotary.get("rope_type", "default") != "default":
        own["rope_scaling"] = {key: rotary[key] for key in rotary if key != "rope_theta"}
    return own


def _own_settings(card: VisionLanguageCard, checkpoint: Checkpoint) -> Settings:
    metadata = checkpoint.metadata
    header = {key: json.loads(metadata[key]) for key in _OWN if key in metadata}
    preprocessing = checkpoint.preprocessing or card.preprocessing
    return Settings(
        LanguageModelConfig(**header["language"]) if "language" in header else card.language,
        Views(preprocessing=preprocessing, grids=tuple(map(tuple, header.get("grids", ())))),
        header.get("multi_scale", card.multi_scale),
    )


def _apple_language(config: Config) -> LanguageModelConfig:
    """LLaVA's configuration is its language model's, with fields added."""
    return LanguageModelConfig(
        model_type=str(config.get("model_type", "llava_qwen2")).removeprefix("llava_"),
        numbers=portable_numbers(config),
    )


def _grids(config: Config, image_size: int) -> tuple[tuple[int, int], ...]:
    """`image_grid_pinpoints` are (width, height) in pixels, multiples of a tile's side."""
    pinpoints = config.get("image_grid_pinpoints") or [[2 * image_size, 2 * image_size]]
    if isinstance(pinpoints, str):
        pinpoints = json.loads(pinpoints.replace("(", "[").replace(")", "]"))
    return tuple((width // image_size, height // image_size) for width, height in pinpoints)


def _transformers_language(config: Config) -> LanguageModelConfig:
    text = dict(config.get("text_config") or {})
    if config.get("tie_word_embeddings"):
        text["tie_word_embeddings"] = True
    return LanguageModelConfig(
        model_type=text.get("model_type", "qwen2"), numbers=portable_numbers(text)
    )


def _transformers_views(checkpoint: Checkpoint, preprocessing: Preprocessing) -> Views:
    """The size is the image processor's. It crops in the conversions that are published, though the
    weights were trained with padding, which the card asks for."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = (checkpoint.folder or Path()) / name
        if path.exists():
            settings = read_json(path)
            size = settings.get("image_processor", settings).get("crop_size")
            if size is not None:
                size = size["height"] if isinstance(size, dict) else size
                preprocessing = replace(preprocessing, image_size=int(size))
                break
    return Views(preprocessing=preprocessing)


def _check_tower(card: VisionLanguageCard, config: Config, checkpoint: Checkpoint) -> None:
    tower = (config.get("vision_config") or {}).get("architecture", card.image.timm_name)
    # A name in timm may have a tag of weights.
    if str(tower).partition(".")[0] != card.image.timm_name:
        raise ValueError(
            f"The config.json beside '{checkpoint.source}' names the image tower {tower}, but "
            f"{card.name} has {card.image.timm_name}; zoo has no model of that tower."
        )
