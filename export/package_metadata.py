"""What Xcode shows of a package: author, licence, descriptions, and the figures an app needs."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from zoo.export.part import Part
from zoo.models.card import ModelCard

AUTHOR = "zoo"
CODE_LICENCE = "Apache-2.0"


def describe_package(package: Any, part: Part, card: ModelCard, weights_sha256: str) -> None:
    """Write the metadata of `part` into a converted package, in place."""
    package.author = AUTHOR
    package.license = _licence(card)
    package.short_description = part.summary
    package.version = version("zoo")
    for taken in part.inputs:
        package.input_description[taken.name] = taken.description
    for given in part.outputs:
        package.output_description[given.name] = given.description
    for name, value in {"weights_sha256": weights_sha256, **part.figures}.items():
        package.user_defined_metadata[f"zoo.{name}"] = str(value)


def _licence(card: ModelCard) -> str:
    code = f"Code: {CODE_LICENCE}."
    if card.weights is None:
        return (
            f"{code} Weights: as set by whoever trained them; none were published for this model."
        )
    return (
        f"{code} Published weights of {card.name}: {card.weights.licence} "
        f"({card.weights.licence_url})."
    )
