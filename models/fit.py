"""Which form of a model a checkpoint's weights have: found strictly, by names and shapes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from zoo.models.card import Naming
from zoo.models.reparameterize import fold_norms_and_scales, merge_branches

Form = Literal["train-time", "merged", "folded"]
"""`merged` is what the original and timm call reparameterized; `folded` is ours, with less left."""

Model = TypeVar("Model", bound=nn.Module)


def fit(model: Model, state: Mapping[str, Tensor], source: str, name: str) -> tuple[Model, Form]:
    """Return `model`, whose parameters are on the meta device, in the form that `state` has.

    `source` says where the state is from and `name` whose it should be. Raises ValueError, with the
    missing, unexpected and reshaped keys of the form that comes nearest, where none has its names
    and shapes.
    """
    given = {key: value.shape for key, value in state.items()}
    misfits: list[_Misfit] = []
    for form in _forms(model):
        wanted = {key: value.shape for key, value in model.state_dict().items()}
        if wanted == given:
            return model, form
        misfits.append(_misfit(wanted, given))
    nearest = min(misfits, key=lambda misfit: sum(map(len, misfit)))
    raise ValueError(f"{source} does not fit {name}: {nearest.in_words()}.")


def refuse_folded(form: Form, source: str | os.PathLike[str], naming: Naming) -> None:
    """Raise ValueError for folded weights of `source`, which `naming` cannot hold."""
    if form == "folded":
        raise ValueError(
            f"'{source}' is folded further than {naming}'s naming can hold; convert the "
            "train-time checkpoint instead."
        )


def _forms(model: nn.Module) -> Iterator[Form]:
    """Bring the train-time `model` into one form after the other, in place."""
    yield "train-time"
    merge_branches(model)
    yield "merged"
    fold_norms_and_scales(model)
    yield "folded"


class _Misfit(NamedTuple):
    missing: list[str]
    unexpected: list[str]
    reshaped: list[str]

    def in_words(self) -> str:
        problems = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape": self.reshaped,
        }
        return "; ".join(_some(problem, keys) for problem, keys in problems.items() if keys)


def _misfit(wanted: dict[str, torch.Size], given: dict[str, torch.Size]) -> _Misfit:
    return _Misfit(
        missing=[f"'{key}'" for key in sorted(wanted.keys() - given.keys())],
        unexpected=[f"'{key}'" for key in sorted(given.keys() - wanted.keys())],
        reshaped=[
            f"'{key}' has shape {tuple(given[key])} instead of {tuple(wanted[key])}"
            for key in sorted(wanted.keys() & given.keys())
            if wanted[key] != given[key]
        ],
    )


def _some(problem: str, keys: list[str]) -> str:
    return f"{len(keys)} keys {problem} ({', '.join(keys[:3])}{', …' if keys[3:] else ''})"
