"""What the tests of exports share: a model with realistic statistics and one export of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from zoo.export.coreml import export_coreml
from zoo.export.package_report import ExportReport
from zoo.models.image_text_model import ImageTextModel
from zoo.models.load import load_model


def randomized_model(name: str) -> ImageTextModel:
    """A train-time model in which every part has a say in the output, as in a trained one.

    At initialisation layer scales are 1e-5 and norms are the identity, which hides errors.
    """
    torch.manual_seed(0)
    model = load_model(name, weights=None, reparameterize=False)
    for module in model.modules():
        randomize(module)
    measure_batch_statistics(model)
    return model


def randomize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        fan_in = module.weight[0].numel()
        nn.init.normal_(module.weight, std=fan_in**-0.5)
        if module.bias is not None:
            nn.init.normal_(module.bias, std=0.1)
    elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
        nn.init.normal_(module.weight, mean=1.0, std=0.2)
        nn.init.normal_(module.bias, std=0.1)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.5)
    gamma = getattr(module, "gamma", None)
    if isinstance(gamma, nn.Parameter):
        nn.init.normal_(gamma, mean=0.1, std=0.02)


def measure_batch_statistics(model: ImageTextModel) -> None:
    """Set the running statistics of every BatchNorm to those of a random batch."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.train().momentum = 1.0
    size = model.preprocessing.image_size
    with torch.no_grad():
        model.encode_image(
            torch.rand(4, 3, 4, 4).repeat_interleave(size // 4, 2).repeat_interleave(size // 4, 3)
        )
        model.encode_text(torch.randint(model.card.vocab_size, (4, model.card.context_length)))
    for norm in norms:
        norm.eval().momentum = 0.1


@pytest.fixture(scope="session")
def make_model() -> Callable[[str], ImageTextModel]:
    """Build a train-time model by name, with realistic random statistics."""
    return randomized_model


@pytest.fixture(scope="session")
def tiny_model() -> ImageTextModel:
    """`mobileclip-tiny`, unfused, shared by all tests: leave it as it is."""
    return randomized_model("mobileclip-tiny")


@pytest.fixture(scope="session")
def tiny_export(
    tiny_model: ImageTextModel, tmp_path_factory: pytest.TempPathFactory
) -> ExportReport:
    """The export of `tiny_model`, shared by all tests: leave its files as they are."""
    return export_coreml(tiny_model, tmp_path_factory.mktemp("coreml"))
