"""One part of an export: a module to become a package, and all there is to say of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from zoo.models.preprocess import Preprocessing

PIXEL_SCALE = 1 / 256
"""Factor on pixels at the input of a package, a power of two: float16 holds every pixel exactly,
where pixels / 255 are rounded by up to an eighth of a step. Relative L2 error of a half-precision
image tower with 1/255 and with 1/256: trained mobileclip-tiny 3.5e-3 and 2.6e-3, random
mobileclip2-s0 2.4e-3 and 1.9e-3."""


@dataclass(frozen=True, kw_only=True)
class PictureInput:
    """An RGB picture, float (1, 3, size, size) in 0…255; the module gets it times PIXEL_SCALE."""

    name: str
    description: str
    size: int

    def traced(self, value: Tensor) -> Tensor:
        """What the module gets of a value."""
        return value * PIXEL_SCALE

    def declared(self) -> Any:
        """The input as coremltools declares it."""
        import coremltools as ct

        # A scale for each channel is broken (coremltools issue 2461): mean and std are traced.
        return ct.ImageType(
            name=self.name,
            shape=(1, 3, self.size, self.size),
            scale=PIXEL_SCALE,
            color_layout=ct.colorlayout.RGB,
        )


@dataclass(frozen=True, kw_only=True)
class ArrayInput:
    """Numbers: token ids, coordinates, features."""

    name: str
    description: str
    shape: tuple[int, ...]
    dtype: Literal["int32", "float32"]

    def traced(self, value: Tensor) -> Tensor:
        """What the module gets of a value."""
        return value

    def declared(self) -> Any:
        """The input as coremltools declares it."""
        import coremltools as ct

        return ct.TensorType(name=self.name, shape=self.shape, dtype=np.dtype(self.dtype).type)


@dataclass(frozen=True, kw_only=True)
class Output:
    """Features (1, …, D) or maps (1, C, H, W), float32."""

    name: str
    description: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """What becomes one package."""

    name: str
    """In the report, e.g. `image`."""
    package: str
    """Name of the package's folder."""
    summary: str
    """What Xcode shows first."""
    module: nn.Module
    """What is traced: in eval mode, float32, on the CPU; from the inputs to the outputs."""
    inputs: tuple[PictureInput | ArrayInput, ...]
    """In the order of the module's arguments."""
    outputs: tuple[Output, ...]
    """In the order in which the module gives them."""
    reference: Callable[..., Tensor | tuple[Tensor, ...]]
    """The model itself, from an example to the outputs."""
    examples: Sequence[tuple[Tensor, ...]]
    """Inputs as the package receives them."""
    figures: Mapping[str, Any]
    """What an app must know, written into the package's metadata as text."""
    tables: Sequence[Tensor] = field(default=())
    """Token embeddings, compared row by row."""
    exact: str | None = None
    """Name of a submodule that computes in float32 in a package of half precision, too."""


def picture_input(preprocessing: Preprocessing) -> PictureInput:
    """Return the input `image` that a model's preprocessing asks for."""
    size = preprocessing.image_size
    if preprocessing.aspect == "pad":
        colour = tuple(int(255 * value) for value in preprocessing.mean)
        square = f"filled up on both sides with RGB {colour} to a square, resized to {size}x{size}"
    else:
        square = f"shorter side resized to {size} pixels and cropped at the centre to {size}x{size}"
    return PictureInput(
        name="image",
        description=f"RGB picture, {square}; values are scaled and normalised inside.",
        size=size,
    )


def preprocessing_figures(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return what an app must know to prepare pictures."""
    return {
        "image_size": preprocessing.image_size,
        "aspect": preprocessing.aspect,
        "interpolation": preprocessing.interpolation,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
    }
