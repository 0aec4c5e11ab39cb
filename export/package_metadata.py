"""What Xcode shows of a package: author, licence, descriptions, and the figures an app needs."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from zoo.models.card import ImageTextCard
from zoo.models.image_text_model import ImageTextModel

AUTHOR = "zoo"
CODE_LICENCE = "Apache-2.0"

_INPUTS = {
    "image": "RGB picture, shorter side resized to {size} pixels and cropped at the centre to "
    "{size}x{size}; values are scaled and normalised inside.",
    "text": "{context} token ids of CLIP's byte-pair tokenizer: start token, text, end token, "
    "then zeros.",
}
_OUTPUT = (
    "{dim} features of unit length: the dot product of image and text features is their cosine."
)


def describe_package(package: Any, model: ImageTextModel, tower: str, weights_sha256: str) -> None:
    """Write the metadata of `tower` ("image" or "text") into a converted package, in place."""
    card = model.card
    numbers = {
        "size": model.preprocessing.image_size,
        "context": card.context_length,
        "dim": card.embed_dim,
    }
    package.author = AUTHOR
    package.license = _licence(card)
    package.short_description = f"{tower.capitalize()} tower of {card.name}: {card.summary}"
    package.version = version("zoo")
    package.input_description[tower] = _INPUTS[tower].format(**numbers)
    package.output_description[f"{tower}_features"] = _OUTPUT.format(**numbers)
    figures = {"weights_sha256": weights_sha256, **_figures(model)}
    for name, value in figures.items():
        package.user_defined_metadata[f"zoo.{name}"] = str(value)


def _licence(card: ImageTextCard) -> str:
    code = f"Code: {CODE_LICENCE}."
    if card.weights is None:
        return (
            f"{code} Weights: as set by whoever trained them; none were published for this model."
        )
    return (
        f"{code} Published weights of {card.name}: {card.weights.licence} "
        f"({card.weights.licence_url})."
    )


def _figures(model: ImageTextModel) -> dict[str, Any]:
    preprocessing = model.preprocessing
    _, _, logit_scale = model()
    return {
        "model": model.card.name,
        "embed_dim": model.card.embed_dim,
        "image_size": preprocessing.image_size,
        "interpolation": preprocessing.interpolation,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "context_length": model.card.context_length,
        "logit_scale": logit_scale.item(),
        "unit_length_features": True,
    }
