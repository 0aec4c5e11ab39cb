"""Before the first step: the tower's form, what is frozen, and how fast the rest moves."""

from __future__ import annotations

from torch import nn

from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.reparameterize import MergedConv, merge_branches
from zoo.training.fine_tuning.lora import put_adapters
from zoo.training.fine_tuning.prepare import keep_statistics
from zoo.training.vision_language.settings import VisionLanguage


def prepare_vision_language(model: VisionLanguageModel, settings: VisionLanguage) -> None:
    """Give the tower its form, freeze what is not trained and add LoRA's adapters, in place.

    The model computes what it did before. The tower's BatchNorm stays in eval mode whatever
    `train()` is called with, unless it is to be trained. Raises ValueError for a train-time tower
    where the weights are merged, and for LoRA without peft.
    """
    _give_form(model.image_encoder, settings)
    model.requires_grad_(settings.train == "all")
    for part in (model.projector, model.multi_scale):
        if part is not None:
            part.requires_grad_(True)
    if settings.train == "language":
        model.language_model.requires_grad_(True)
    if settings.train == "lora":
        _add_adapters(model.language_model, settings)
    if not settings.train_batch_norm:
        keep_statistics(model.image_encoder.modules())


def scales_of_parts(
    model: VisionLanguageModel, settings: VisionLanguage, learning_rate: float
) -> dict[str, float]:
    """Return the factor of `learning_rate` of every parameter, by name."""
    rates = {
        "image_encoder": settings.tower_learning_rate,
        "projector": settings.projector_learning_rate,
        "multi_scale": settings.projector_learning_rate,
    }
    parts = {part: (rate or learning_rate) / learning_rate for part, rate in rates.items()}
    return {name: parts.get(name.partition(".")[0], 1.0) for name, _ in model.named_parameters()}


def _give_form(image_encoder: nn.Module, settings: VisionLanguage) -> None:
    if settings.tower == "reparameterized":
        merge_branches(image_encoder)
    elif any(isinstance(module, MergedConv) for module in image_encoder.modules()):
        raise ValueError(
            "The weights hold a tower whose branches are merged, which cannot be undone; train it "
            'as it is (tower="reparameterized"), or begin with train-time weights.'
        )


def _add_adapters(language_model: nn.Module, settings: VisionLanguage) -> None:
    """On every linear layer but the one that gives the logits (`train_qwen.py`)."""
    head = language_model.get_output_embeddings()  # pyright: ignore[reportCallIssue]
    layers = [
        name
        for name, module in language_model.named_modules()
        if isinstance(module, nn.Linear) and module is not head
    ]
    put_adapters(
        language_model,
        layers,
        rank=settings.lora_rank,
        alpha=settings.lora_alpha,
        dropout=settings.lora_dropout,
    )
