"""`zoo classify` and `zoo embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import tyro

from zoo.commands.console import say, show_table, weights_argument
from zoo.models.checkpoint import write_state
from zoo.models.hub import PUBLISHED
from zoo.models.image_text_model import ImageTextModel
from zoo.models.load import load_image_text_model

DEFAULT_MODEL = "mobileclip2-s0"


def classify(
    photos: Annotated[tuple[Path, ...], tyro.conf.Positional],
    /,
    *,
    labels: str,
    model: str = DEFAULT_MODEL,
    weights: str = PUBLISHED,
) -> None:
    """Say which of your labels fits each photograph.

    Args:
        photos: image files.
        labels: what may be seen, separated by commas, e.g. "a dog, a bicycle".
        model: a name of `zoo list`.
        weights: "published", "none" (random) or a file.
    """
    names = [label.strip() for label in labels.split(",") if label.strip()]
    if not names:
        raise ValueError('The list of labels is empty; give some, e.g. --labels "a dog, a cat".')
    _check_photos(photos)
    loaded = load_image_text_model(model, weights=weights_argument(weights))
    images = torch.stack([loaded.preprocess(photo) for photo in photos])
    probabilities = _probabilities(loaded, images, names)
    for photo, row in zip(photos, probabilities.tolist(), strict=True):
        ranked = sorted(zip(row, names, strict=True), reverse=True)
        rows = [[f"{share:6.1%}", name] for share, name in ranked]
        say(str(photo))
        show_table(["", ""], rows)


def embed(
    photos: Annotated[tuple[Path, ...], tyro.conf.Positional] = (),
    /,
    *,
    output: Path,
    text: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    model: str = DEFAULT_MODEL,
    weights: str = PUBLISHED,
) -> None:
    """Write normalised features of photographs and texts to a safetensors file.

    The file holds `image_features` (photos, D) and `text_features` (texts, D), float32, in the
    order given; the header names model, photographs and texts.

    Args:
        photos: image files.
        output: the .safetensors file to write.
        text: a text to embed; repeat for several.
        model: a name of `zoo list`.
        weights: "published", "none" (random) or a file.
    """
    if not photos and not text:
        raise ValueError("There is nothing to embed; give photographs, --text or both.")
    loaded = load_image_text_model(model, weights=weights_argument(weights))
    features: dict[str, torch.Tensor] = {}
    with torch.inference_mode():
        if photos:
            rows = [loaded.preprocess(photo)[None] for photo in photos]
            features["image_features"] = torch.cat(
                [loaded.encode_image(row, normalize=True) for row in rows]
            )
        if text:
            tokens = loaded.tokenize(list(text))
            features["text_features"] = loaded.encode_text(tokens, normalize=True)
    names = {"photos": "\n".join(map(str, photos)), "texts": "\n".join(text)}
    write_state(features, output, {"model": loaded.card.name, **names})
    shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in features.items())
    say(f"wrote {output}: {shapes}")


def _check_photos(photos: tuple[Path, ...]) -> None:
    if not photos:
        raise ValueError("There is nothing to classify; give at least one photograph.")


def _probabilities(model: ImageTextModel, images: torch.Tensor, names: list[str]) -> torch.Tensor:
    """(photos, labels), each row sums to 1."""
    with torch.inference_mode():
        image_features, text_features, logit_scale = model(images, model.tokenize(names))
        return (logit_scale * image_features @ text_features.T).softmax(dim=-1)
