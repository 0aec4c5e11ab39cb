"""fastvlm-tiny with random weights that answer differently about every picture.

Used by .venv/bin/pytest tests/models/fastvlm/test_generation.py
"""

from collections.abc import Sequence
from typing import Any

import torch
from pictures import picture
from realistic import make_realistic
from torch import nn

from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.load import load_model
from zoo.models.preprocess import ImageSource


def talking_model(dtype: torch.dtype = torch.float64, seed: int = 0) -> VisionLanguageModel:
    """Return fastvlm-tiny at 128 pixels, reparameterized. In float64 no two tokens tie."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = load_model(
            "fastvlm-tiny", weights=None, reparameterize=False, device="cpu", image_size=128
        )
    make_realistic(model.image_encoder)
    _keep_signal(model)
    with torch.no_grad():
        # As they come, weights are so small that the answer hardly depends on what was read.
        for part in (model.projector, model.language_model):
            for matrix in (parameter for parameter in part.parameters() if parameter.ndim == 2):
                matrix.mul_(6)
    return model.reparameterize().to(dtype)


@torch.no_grad()
def _keep_signal(model: VisionLanguageModel) -> None:
    """Set the BatchNorms to the statistics of pictures: each layer's output keeps its size."""
    for module in model.image_encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    views = torch.cat([model.preprocess(picture(seed=seed)) for seed in range(4)])
    model.image_encoder.train()(views)
    model.image_encoder.eval()


def tokens_read(model: VisionLanguageModel) -> list[int]:
    """Return a list to which every pass of the language model adds how many tokens it read."""
    passes: list[int] = []

    def count(module: nn.Module, args: Any, inputs: dict[str, Any]) -> None:
        embeddings = inputs.get("inputs_embeds")
        given = inputs["input_ids"] if embeddings is None else embeddings
        passes.append(given.shape[1])

    model.language_model.register_forward_pre_hook(count, with_kwargs=True)
    return passes


@torch.no_grad()
def uncached_answer(
    model: VisionLanguageModel, ids: list[int], sources: Sequence[ImageSource], tokens: int
) -> list[int]:
    """Return the `tokens` likeliest tokens after `ids`, each read off a pass over them all."""
    visual_tokens = None
    if sources:
        views = torch.cat([model.preprocess(source) for source in sources])
        visual_tokens = model.visual_tokens(views.to(next(model.projector.parameters()).dtype))
    said: list[int] = []
    for _ in range(tokens):
        embeddings = model.embed(torch.tensor([ids + said]), visual_tokens)
        said.append(int(model.language_model(inputs_embeds=embeddings).logits[0, -1].argmax()))
    return said
