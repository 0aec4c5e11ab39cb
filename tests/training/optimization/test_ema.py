"""The averaged weights follow their formula and come and go without a trace.

Run: pytest tests/training/optimization/test_ema.py
"""

from __future__ import annotations

import torch
from torch import nn

from zoo.training.optimization.ema import WeightAverage


def small_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def test_the_average_is_the_formula_and_counts_are_the_last() -> None:
    model = small_model()
    average = WeightAverage(model, 0.9)
    expected = model.state_dict()["0.weight"].double()
    for step in range(5):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(step)
            model[1].num_batches_tracked.add_(1)  # pyright: ignore[reportIndexIssue]
        average.update(model)
        expected = 0.9 * expected + 0.1 * model.state_dict()["0.weight"].double()
    torch.testing.assert_close(average.state_dict()["0.weight"].double(), expected)
    assert average.state_dict()["1.num_batches_tracked"] == 5


def test_applying_it_is_undone_in_the_end() -> None:
    model = small_model()
    average = WeightAverage(model, 0.9)
    with torch.no_grad():
        model.get_parameter("0.weight").add_(1)
    own = {name: value.clone() for name, value in model.state_dict().items()}
    with average.apply_to(model):
        for name, value in model.state_dict().items():
            assert torch.equal(value, average.state_dict()[name])
        assert not torch.equal(model.state_dict()["0.weight"], own["0.weight"])
    assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())


def test_it_goes_on_from_its_saved_tensors() -> None:
    model = small_model()
    average, resumed = WeightAverage(model, 0.5), WeightAverage(model, 0.5)
    with torch.no_grad():
        model.get_parameter("0.bias").add_(3)
    average.update(model)
    resumed.load_state_dict({k: v.clone() for k, v in average.state_dict().items()})
    for one in (average, resumed):
        one.update(model)
    assert all(
        torch.equal(value, resumed.state_dict()[name])
        for name, value in average.state_dict().items()
    )
