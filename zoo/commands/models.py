"""`zoo list`, `zoo info`, `zoo convert`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import tyro

from zoo.commands.console import say, show_table
from zoo.models.card import (
    ImageTextCard,
    ModelCard,
    Naming,
    OpenClipTextConfig,
    PublishedVisionLanguageResults,
    SamClipCard,
    TextEncoderConfig,
    VisionLanguageCard,
    VisionTowerCard,
)
from zoo.models.convert import convert_weights
from zoo.models.load import load_model
from zoo.models.registry import get_card, list_models

_SHOWN = ("GQA", "TextVQA", "DocVQA")
"""The benchmarks of vision-language models that the list shows."""
_RESIZE = {
    "crop": "shorter side, {}, centre crop",
    "pad": "padded to a square, {}",
}


def show_models() -> None:
    """List every model with its size, published figures and the licence of its weights."""
    cards = list_models()
    columns = ["name", "M parameters", "size", "ImageNet %", "38 sets %", "iPhone ms", "weights"]
    pairs = [card for card in cards if isinstance(card, ImageTextCard)]
    show_table(columns, [_row(card) for card in pairs if not isinstance(card, SamClipCard)])
    columns = ["name", "size of words", "of pixels' classes", "of masks", "embedding", "weights"]
    show_table(columns, [_sam_clip_row(card) for card in cards if isinstance(card, SamClipCard)])
    others = [card for card in cards if not isinstance(card, ImageTextCard)]
    columns = [
        "name",
        "language model",
        "size",
        *(f"{name} %" for name in _SHOWN),
        "M1 ms",
        "weights",
    ]
    show_table(columns, [_other_row(card) for card in others])
    say("Figures are the authors' (`zoo info NAME` names the source); image + text.")
    say("M1 ms: time to first token on an M1 Max, image tower and prefill of the visual tokens.")


def show_model(name: Annotated[str, tyro.conf.Positional]) -> None:
    """Print the card of one model."""
    card = get_card(name)
    rows: list[list[Any]] = [
        ["name", card.name],
        ["summary", card.summary],
        ["paper", card.paper],
        ["image tower", f"{card.image.timm_name} {dict(card.image.overrides) or ''}".strip()],
        *_family_rows(card),
        *_preprocessing_rows(card),
        *_weight_rows(card),
        *_result_rows(card),
    ]
    show_table(["", ""], rows)


def convert(
    source: Annotated[Path, tyro.conf.Positional],
    target: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    model: str,
    naming: Naming = "zoo",
    reparameterize: bool = False,
) -> None:
    """Write the weights at SOURCE to TARGET (.safetensors or .pt) in another naming or form.

    FastVLM is written as a folder with configuration and tokenizer, which Apple's code (naming
    apple) or transformers load, its tower merged as they build it. Of SAM-CLIP, sam and
    transformers name the SAM inside of it; a SAM's own file is read, too.

    Args:
        source: a weights file, or a folder with one.
        target: the file to write, or the folder.
        model: whose weights they are, e.g. mobileclip2-s0 or fastvlm-0.5b.
        naming: the keys to write.
        reparameterize: fold train-time branches.
    """
    convert_weights(source, target, model=model, naming=naming, reparameterize=reparameterize)
    say(f"wrote {target}")


def _row(card: ImageTextCard) -> list[Any]:
    results = card.results
    if results is None:
        return [card.name, "", card.image_size, "", "", "", "none: train it yourself"]
    return [
        card.name,
        f"{results.image_parameters_millions} + {results.text_parameters_millions}",
        card.image_size,
        results.imagenet_top1,
        results.average_38,
        f"{results.image_latency_ms} + {results.text_latency_ms}",
        card.weights.licence if card.weights else "",
    ]


def _sam_clip_row(card: SamClipCard) -> list[Any]:
    sizes = [card.image_size, card.segmentation_image_size, card.mask_image_size]
    return [card.name, *sizes, card.embed_dim, "none: train it yourself"]


def _other_row(card: ModelCard) -> list[Any]:
    results = card.results[-1] if isinstance(card, VisionLanguageCard) and card.results else None
    figures = ["" for _ in (*_SHOWN, "ms")]
    if results is not None:
        figures = [*(results.accuracy[name] for name in _SHOWN), f"{results.ttft_ms:.0f}"]
    return [card.name, _language_model(card), card.image_size, *figures, _licence(card)]


def _language_model(card: ModelCard) -> str:
    if not isinstance(card, VisionLanguageCard):
        return "none: image tower alone"
    numbers = card.language.numbers
    layers, width = numbers["num_hidden_layers"], card.language.hidden_size
    return f"{card.language.model_type}, {layers} x {width}"


def _licence(card: ModelCard) -> str:
    return card.weights.licence if card.weights else "none published"


def _family_rows(card: ModelCard) -> list[list[Any]]:
    """What only a family's cards have."""
    if isinstance(card, ImageTextCard):
        towers = [["text tower", _text_tower(card)], ["embedding", card.embed_dim]]
        return towers + (_sam_clip_rows(card) if isinstance(card, SamClipCard) else [])
    if isinstance(card, VisionLanguageCard):
        numbers = ", ".join(f"{name} {value}" for name, value in card.language.numbers.items())
        tokens = (card.image_size // card.stride) ** 2
        return [
            ["language model", f"{card.language.model_type}: {numbers}"],
            ["visual tokens", f"{tokens} of width {card.feature_dim}"],
            *_parameter_rows(card),
        ]
    if isinstance(card, VisionTowerCard):
        widths = f"visual tokens of width {card.feature_dim}, CLIP embedding {card.embed_dim}"
        return [["output", widths], *_parameter_rows(card)]
    return []


def _sam_clip_rows(card: SamClipCard) -> list[list[Any]]:
    classes, masks = card.segmentation_image_size, card.mask_image_size
    sides = f"any multiple of {card.stride}; pixels are classified at {classes}, masks at {masks}"
    return [["image sizes", sides], *_parameter_rows(card)]


def _parameter_rows(card: ModelCard) -> list[list[Any]]:
    """Counted in the reparameterized model, without its values."""
    if isinstance(card, VisionLanguageCard) and find_spec("transformers") is None:
        return []
    model = load_model(card.name, weights=None, device="meta")
    counts = {
        name.replace("_", " "): sum(parameter.numel() for parameter in part.parameters())
        for name, part in model.named_children()
    }
    text = ", ".join(f"{name} {count / 1e6:.1f} M" for name, count in counts.items())
    return [["parameters", f"{sum(counts.values()) / 1e6:.1f} M: {text}"]]


def _text_tower(card: ImageTextCard) -> str:
    text = card.text
    if isinstance(text, OpenClipTextConfig):
        return f"open_clip's {text.architecture}, {text.context_length} tokens"
    assert isinstance(text, TextEncoderConfig)
    kinds = ", ".join(f"{text.blocks.count(kind)} {kind}" for kind in dict.fromkeys(text.blocks))
    direction = "causal" if text.causal else "bidirectional"
    return f"{kinds} blocks, width {text.width}, {text.context_length} tokens, {direction}"


def _preprocessing_rows(card: ModelCard) -> list[list[Any]]:
    settings = card.preprocessing
    return [
        ["image size", f"{settings.image_size} pixels"],
        ["resize", _RESIZE[settings.aspect].format(settings.interpolation)],
        ["mean", settings.mean],
        ["std", settings.std],
    ]


def _weight_rows(card: ModelCard) -> list[list[Any]]:
    if isinstance(card, SamClipCard):
        return [["weights", "none published: train it, or give a SAM's file for masks alone"]]
    if card.weights is None:
        return [["weights", "none published"]]
    return [
        ["weights", f"{card.weights.repository}/{card.weights.filename}"],
        ["licence of the weights", f"{card.weights.licence}\n{card.weights.licence_url}"],
    ]


def _result_rows(card: ModelCard) -> list[list[Any]]:
    if isinstance(card, VisionLanguageCard):
        return [row for results in card.results for row in _stage_rows(results)]
    if isinstance(card, SamClipCard) and card.paper_results is not None:
        figures = [list(figure) for figure in card.paper_results.figures.items()]
        return [
            *figures,
            ["source of the figures", f"{card.paper_results.source}; never published"],
        ]
    if not isinstance(card, ImageTextCard) or card.results is None:
        return []
    results = card.results
    return [
        *_published_figures(card),
        ["source of the figures", results.source],
        *([["note", results.note]] if results.note else []),
    ]


def _published_figures(card: ImageTextCard) -> list[list[Any]]:
    results = card.results
    assert results is not None
    flickr = (results.flickr30k_text_to_image_r1, results.flickr30k_image_to_text_r1)
    coco = (results.coco_text_to_image_r1, results.coco_image_to_text_r1)
    return [
        ["samples seen", f"{results.samples_seen_billions} billion"],
        ["ImageNet zero-shot", f"{results.imagenet_top1} %"],
        ["mean of 38 sets", f"{results.average_38} %"],
        ["Flickr30k R@1", f"text → image {flickr[0]} %, image → text {flickr[1]} %"],
        ["COCO R@1", f"text → image {coco[0]} %, image → text {coco[1]} %"],
        [
            "iPhone 12 Pro Max",
            f"image {results.image_latency_ms} ms, text {results.text_latency_ms} ms",
        ],
    ]


def _stage_rows(results: PublishedVisionLanguageResults) -> list[list[Any]]:
    figures = ", ".join(f"{name} {value}" for name, value in results.accuracy.items())
    return [
        [f"stage {results.stage}", figures],
        ["TTFT on an M1 Max", f"{results.ttft_ms:.0f} ms, {results.source}"],
    ]
