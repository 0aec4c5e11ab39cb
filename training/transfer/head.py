"""A linear head: class logits of one model's image features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.reinforced_data.sidecars.tensor_file import TensorFile, write_tensors

FORMAT = "zoo-linear-head"
FORMAT_VERSION = "1"
TRAINED_HEAD = "head.safetensors"
"""Name of a trained head in the run folder."""


class LinearHead(nn.Module):
    """Class logits of image features of any length; all zero until it is fitted or trained.

    Features are first brought to root mean square 1, so that stored embeddings (of length 1) and a
    tower's own are alike, and weights have the size that optimizers expect.
    """

    def __init__(self, features: int, classes: int, *, of: str, pretrained: str = "") -> None:
        """Take the number of features and of classes, and whose features they are.

        `of` is a teacher's name in the sidecars with its `pretrained`, or a zoo model's name.
        """
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(classes, features))
        self.bias = nn.Parameter(torch.zeros(classes))
        self.of = of
        self.pretrained = pretrained

    @property
    def classes(self) -> int:
        """Number of classes, C."""
        return self.weight.shape[0]

    @property
    def features(self) -> int:
        """Number of features, D."""
        return self.weight.shape[1]

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (B, C) of features (B, D)."""
        return F.linear(standardized(features), self.weight, self.bias)


def standardized(features: Tensor) -> Tensor:
    """Bring the rows of features (B, D) to root mean square 1."""
    return math.sqrt(features.shape[-1]) * F.normalize(features, dim=-1)


def save_head(head: LinearHead, path: Path) -> None:
    """Write `head`, whole or not at all; the same head gives the same bytes.

    A safetensors file with float32 `weight` (C, D) and `bias` (C,); the metadata say of what.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().cpu().numpy() for name, value in head.state_dict().items()}
    header = {"format": FORMAT, "format_version": FORMAT_VERSION}
    write_tensors(path, tensors, header | {"of": head.of, "pretrained": head.pretrained})


def write_trained_head(tensors: Mapping[str, Tensor], folder: Path, *, of: str) -> None:
    """Write TRAINED_HEAD from the tensors of a task that has a `head`; for `Task.write_own`."""
    weight, bias = tensors["head.weight"], tensors["head.bias"]
    classes, features = weight.shape
    head = LinearHead(features, classes, of=of)
    head.load_state_dict({"weight": weight, "bias": bias})
    save_head(head, folder / TRAINED_HEAD)


def load_head(path: Path) -> LinearHead:
    """Read a file of `save_head`.

    Raises FileNotFoundError, or ValueError for a foreign, truncated or altered file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no head '{path}'; make it with `zoo transfer`.")
    try:
        file = TensorFile(path)
        file.verify()
    except ValueError as error:
        raise _foreign(path) from error
    said = file.metadata
    if (said.get("format"), said.get("format_version")) != (FORMAT, FORMAT_VERSION):
        raise _foreign(path)
    weight = torch.from_numpy(file.tensors["weight"].copy())
    classes, features = weight.shape
    head = LinearHead(features, classes, of=said["of"], pretrained=said["pretrained"])
    bias = torch.from_numpy(file.tensors["bias"].copy())
    head.load_state_dict({"weight": weight, "bias": bias})
    return head


def _foreign(path: Path) -> ValueError:
    return ValueError(
        f"'{path}' is not a linear head of {FORMAT} version {FORMAT_VERSION}, or it is damaged; "
        "make it again with `zoo transfer`."
    )
