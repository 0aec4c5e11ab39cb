"""The two packages of an image-text model."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from zoo.export.examples import example_images, example_texts
from zoo.export.part import ArrayInput, Output, Part, picture_input, preprocessing_figures
from zoo.export.towers import ImageTower, TextTower
from zoo.models.image_text_model import ImageTextModel

IMAGE_PACKAGE = "image_encoder.mlpackage"
TEXT_PACKAGE = "text_encoder.mlpackage"


def image_text_parts(model: ImageTextModel) -> tuple[Part, ...]:
    """Return image and text tower of a train-time or reparameterized model in eval mode."""
    fused = model.reparameterize()
    return _image_part(model, fused), text_part(model, fused)


def _image_part(model: ImageTextModel, fused: ImageTextModel) -> Part:
    def reference(pixels: Tensor) -> Tensor:
        image = model.preprocessing.normalize(pixels / 255)
        return model.encode_image(image, normalize=True)

    return Part(
        name="image",
        package=IMAGE_PACKAGE,
        summary=f"Image tower of {model.card.name}: {model.card.summary}",
        module=ImageTower(fused),
        inputs=(picture_input(model.preprocessing),),
        outputs=(features_output("image_features", model),),
        reference=reference,
        examples=[(image,) for image in example_images(model.preprocessing.image_size)],
        figures=image_text_figures(model),
    )


def text_part(model: ImageTextModel, fused: ImageTextModel) -> Part:
    """Return the text tower of a model and its reparameterized copy."""
    card = model.card

    def reference(text: Tensor) -> Tensor:
        return model.encode_text(text.long(), normalize=True)

    return Part(
        name="text",
        package=TEXT_PACKAGE,
        summary=f"Text tower of {card.name}: {card.summary}",
        module=TextTower(fused),
        inputs=(
            ArrayInput(
                name="text",
                description=f"{card.context_length} token ids of CLIP's byte-pair tokenizer: start "
                "token, text, end token, then zeros.",
                shape=(1, card.context_length),
                dtype="int32",
            ),
        ),
        outputs=(features_output("text_features", model),),
        reference=reference,
        examples=[(text,) for text in example_texts(card.context_length, card.vocab_size)],
        figures=image_text_figures(model),
        tables=[m.weight for m in model.text_encoder.modules() if isinstance(m, nn.Embedding)],
    )


def features_output(name: str, model: ImageTextModel) -> Output:
    """Return the output `name` of features in the space that both towers share."""
    return Output(
        name=name,
        description=f"{model.card.embed_dim} features of unit length: the dot product of image and "
        "text features is their cosine.",
    )


def image_text_figures(model: ImageTextModel) -> dict[str, Any]:
    """Return what an app must know of a model of two towers."""
    _, _, logit_scale = model()
    return {
        "model": model.card.name,
        "embed_dim": model.card.embed_dim,
        **preprocessing_figures(model.preprocessing),
        "context_length": model.card.context_length,
        "logit_scale": logit_scale.item(),
        "unit_length_features": True,
    }
