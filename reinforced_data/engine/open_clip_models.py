"""Models of open_clip with the weights, activation and preprocessing that belong together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from zoo.models.open_clip_weights import LOCAL, clear_errors, create_open_clip, local_place
from zoo.models.preprocess import OPENAI_MEAN, OPENAI_STD, Preprocessing
from zoo.reinforced_data.engine.fingerprint import fingerprint
from zoo.reinforced_data.engine.preparation import Preparation

# open_clip's own defaults (PreprocessCfg in transform.py).
_DEFAULT_PREPROCESSING = {
    "mean": OPENAI_MEAN,
    "std": OPENAI_STD,
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


class OpenClipModel(NamedTuple):
    """A model with its weights, and how its inputs are made."""

    model: Any
    tokenize: Callable[[list[str]], Tensor]
    preparation: Preparation
    normalize: Callable[[Tensor], Tensor]
    """From uint8 (…, 3, H, W) to the float32 that the model takes."""
    pretrained: str
    """Which weights these are, for the sidecar."""


def load_open_clip(name: str, weights: str | None) -> OpenClipModel:
    """Load `name` (an architecture, `hf-hub:REPO` or `local-dir:FOLDER`) with its weights.

    Arguments and errors are those of `zoo.models.open_clip_weights.create_open_clip`. A file is
    prepared for like the published weights of its architecture; where those disagree, ValueError.
    """
    import open_clip

    place = local_place(name, weights)
    forced = published_preprocessing(name) if weights and place else None
    model = create_open_clip(name, weights, force_preprocess_cfg=forced)
    with clear_errors(name, weights):
        tokenize: Any = open_clip.get_tokenizer(name)
    preparation, normalize = _read_preprocessing(name, model.visual.preprocess_cfg)
    pretrained = fingerprint(place) if place else weights or "hub"
    return OpenClipModel(model, tokenize, preparation, normalize, pretrained)


def published_preprocessing(architecture: str) -> dict[str, Any]:
    """Return what all published weights of `architecture` agree on: mean, std, interpolation,
    resize_mode; open_clip's defaults where none are published.

    open_clip 3.3.0 itself takes its defaults for every file, so that a SigLIP or a MobileCLIP
    would see wrong pixels. Raises ValueError where the published weights differ.
    """
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    published: list[dict[str, Any]] = []
    for tag in list_pretrained_tags_by_model(architecture):
        card = get_pretrained_cfg(architecture, tag)
        found = {name: card.get(name) or value for name, value in _DEFAULT_PREPROCESSING.items()}
        if found not in published:
            published.append(found)
    if len(published) > 1:
        raise ValueError(
            f"The published weights of {architecture} differ in preprocessing, so that a file "
            "alone does not tell its own; put it into a folder with its open_clip_config.json "
            f"and write open_clip:{LOCAL}FOLDER."
        )
    return published[0] if published else dict(_DEFAULT_PREPROCESSING)


def _read_preprocessing(
    name: str, config: dict[str, Any]
) -> tuple[Preparation, Callable[[Tensor], Tensor]]:
    size = config["size"]
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise ValueError(
            f"open_clip's {name} looks at {width} x {height} pixels; zoo's views are square: "
            "choose another model."
        )
    # As open_clip's own transform: "random" stands for bicubic when evaluating.
    interpolation = "bilinear" if config["interpolation"] == "bilinear" else "bicubic"
    preparation = Preparation(
        image_size=height,
        interpolation=interpolation,
        resize_mode=config["resize_mode"],
        fill=config["fill_color"],
    )
    mean, std = (_three(config[key]) for key in ("mean", "std"))
    return preparation, Preprocessing(image_size=height, mean=mean, std=std).normalize


def _three(value: float | Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (value,) * 3 if isinstance(value, int | float) else value
    return red, green, blue
