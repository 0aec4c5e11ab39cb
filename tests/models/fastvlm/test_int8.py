"""Eight bits change the answers little, and each token by itself.

.venv/bin/pytest tests/models/fastvlm/test_int8.py
"""

from __future__ import annotations

import pytest
import torch
from pictures import picture
from realistic import relative_error
from talking_models import talking_model
from torch import nn

from zoo.models.fastvlm.int8 import Int8Linear, quantize_linears

IDS = torch.randint(0, 500, (2, 12), generator=torch.Generator().manual_seed(0))


def test_logits_stay_close_and_every_linear_layer_of_the_language_model_is_small() -> None:
    torch.manual_seed(0)
    model = talking_model(torch.float32)
    with torch.no_grad():
        for parameter in model.language_model.parameters():
            if parameter.ndim == 2:
                parameter.div_(6)  # as transformers initialises: errors do not grow from layer on
        exact = model(IDS)
        quantize_linears(model.language_model)
        rounded = model(IDS)
    assert 1e-5 < relative_error(rounded, exact) < 0.1
    layers = list(model.language_model.modules())
    assert not any(isinstance(layer, nn.Linear) for layer in layers)
    assert isinstance(model.language_model.lm_head, Int8Linear)
    assert isinstance(model.projector.get_submodule("0"), nn.Linear)


def test_batched_equals_single_and_cached_equals_uncached() -> None:
    model = talking_model(torch.float32)
    quantize_linears(model.language_model)
    prompts, images = ["What is this?", "And what is in its corner?"], [picture(seed=1), None]
    alone = [
        model.generate(image, prompt, max_new_tokens=8)
        for image, prompt in zip(images, prompts, strict=True)
    ]
    assert model.generate(images, prompts, max_new_tokens=8) == alone
    chat = model.chat(picture(seed=1))
    assert chat.ask("What is this?", max_new_tokens=8) == alone[0]
    chat.forget()
    assert chat.ask("What is this?", max_new_tokens=8) == alone[0]


def test_a_layer_is_its_rounded_product() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(40, 30)
    inputs = torch.randn(2, 3, 40)
    inputs[0, 1] = 0
    weight_steps = linear.weight.abs().amax(1, keepdim=True) / 127
    input_steps = inputs.abs().amax(-1, keepdim=True) / 127
    weight = (linear.weight / weight_steps).round() * weight_steps
    rounded = (inputs / input_steps.clamp(min=1e-12)).round() * input_steps
    expected = rounded @ weight.T + linear.bias
    assert relative_error(Int8Linear(linear)(inputs), expected) < 1e-5
    assert torch.equal(Int8Linear(linear)(inputs)[0, 1], linear.bias)


def test_other_weights_than_float32_are_refused() -> None:
    with pytest.raises(ValueError, match=r"float32 weights on the CPU.*float64"):
        quantize_linears(nn.Sequential(nn.Linear(4, 4, dtype=torch.float64)))
