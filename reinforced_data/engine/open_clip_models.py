"""Models of open_clip with the weights, activation and preprocessing that belong together."""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from torch import Tensor

from zoo.models.preprocess import OPENAI_MEAN, OPENAI_STD, Preprocessing
from zoo.reinforced_data.engine.fingerprint import fingerprint
from zoo.reinforced_data.engine.preparation import Preparation

# What open_clip 3.3.0 raises for weights that it cannot fetch, read or fit.
_OPEN_CLIP_ERRORS = (
    OSError,
    RuntimeError,
    AssertionError,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    ImportError,
    pickle.UnpicklingError,
    SafetensorError,
)

_LOCAL = "local-dir:"
_HUB = "hf-hub:"

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

    `weights` is a tag or a file for an architecture, None for the other two. Nothing is ever
    random: missing weights raise FileNotFoundError, those that do not fit ValueError. A tag
    decides the activation too (OpenAI's and others need QuickGELU), and a file is prepared for
    like the published weights of its architecture; where those disagree, ValueError.
    """
    import open_clip

    _check_name(name, weights, open_clip.list_models())
    place = _local_place(name, weights)
    try:
        model: Any = open_clip.create_model(
            name,
            pretrained=weights,
            force_quick_gelu=_needs_quick_gelu(name, weights),
            force_preprocess_cfg=published_preprocessing(name) if weights and place else None,
            require_pretrained=True,
        )
        tokenize: Any = open_clip.get_tokenizer(name)
    except _OPEN_CLIP_ERRORS as error:
        raise _failed(name, weights, place, str(error).partition("\n")[0]) from error
    preparation, normalize = _read_preprocessing(name, model.visual.preprocess_cfg)
    pretrained = fingerprint(place) if place else weights or "hub"
    return OpenClipModel(model.eval(), tokenize, preparation, normalize, pretrained)


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
            f"and write open_clip:{_LOCAL}FOLDER."
        )
    return published[0] if published else dict(_DEFAULT_PREPROCESSING)


def _needs_quick_gelu(name: str, weights: str | None) -> bool:
    """Whether the tag's record asks for QuickGELU, which open_clip 3.3.0 only warns about."""
    from open_clip.pretrained import get_pretrained_cfg

    return weights is not None and bool(get_pretrained_cfg(name, weights).get("quick_gelu"))


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


def _local_place(name: str, weights: str | None) -> Path | None:
    """The file or folder that holds the weights, None where they come from a hub."""
    if name.startswith(_LOCAL):
        return Path(name.removeprefix(_LOCAL))
    return Path(weights) if weights and Path(weights).exists() else None


def _check_name(name: str, weights: str | None, known: list[str]) -> None:
    if name.startswith((_LOCAL, _HUB)):
        if weights is not None:
            raise ValueError(f"open_clip:{name} has weights of its own; leave out '@{weights}'.")
        return
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {', '.join(close)}?" if close else "see open_clip.list_models()."
        raise ValueError(f"open_clip has no model {name!r}; {hint}")
    if weights is None:
        raise ValueError(
            f"open_clip:{name} names no weights and would be random; "
            f"write open_clip:{name}@TAG_OR_FILE."
        )


def _failed(name: str, weights: str | None, place: Path | None, reason: str) -> Exception:
    if place is not None and place.exists():
        return ValueError(f"'{place}' does not fit open_clip's {name}: {reason[:200]}")
    return FileNotFoundError(
        f"open_clip cannot get {name} with the weights {weights or 'of its own'} "
        f"({reason[:200]}); go online once, or name a file."
    )
