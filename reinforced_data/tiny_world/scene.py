"""What a tiny-world scene is: one to three shapes on a grid, drawn from (seed, split, index)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeVar

import numpy as np

from zoo.reinforced_data.randomness import keyed_rng

Split = Literal["train", "test", "all"]
Size = Literal["small", "large"]
Pair = tuple[str, str]
T = TypeVar("T")

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "black", "white")
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "diamond", "heart")
TEXTURES = ("solid", "striped", "dotted", "checkered")
SIZES: tuple[Size, ...] = ("small", "large")

CELL_CENTRES = (0.21, 0.5, 0.79)
"""Centres of the grid's rows and columns, as fractions of the picture's side."""
RADII: dict[Size, tuple[float, float]] = {"small": (0.11, 0.135), "large": (0.185, 0.21)}
"""Least and greatest radius of the circle around a shape, as fractions of the picture's side."""
SOLITARY_RADII: dict[Size, tuple[float, float]] = {"small": (0.2, 0.24), "large": (0.27, 0.32)}
"""The same in a world of one object a scene, where no neighbour needs room."""
MAX_OBJECTS = 3

_CENTRE_JITTER = 0.012
_LARGEST_TILT = 0.2  # radians; a square turned so far is still no diamond
_OBJECT_COUNTS = (1, 1, 1, 2, 2, 2, 3, 3)
# Objects of one scene stand on cells of one set, where no two cells share an edge: then the
# largest shapes, jittered towards each other, still do not touch.
_CELL_SETS = (((0, 0), (0, 2), (1, 1), (2, 0), (2, 2)), ((0, 1), (1, 0), (1, 2), (2, 1)))
_HELD_OUT_RESIDUE = 3


@dataclass(frozen=True, kw_only=True)
class SceneObject:
    """One shape of a scene."""

    colour: str
    """One of COLOURS."""
    shape: str
    """One of SHAPES; also the class of the object's pixels in segmentation."""
    texture: str
    """One of TEXTURES."""
    size: Size
    row: int
    """Grid row, 0 (top) to 2 (bottom)."""
    column: int
    """Grid column, 0 (left) to 2 (right)."""
    centre: tuple[float, float]
    """Centre (x, y) from the top left corner, as fractions of the picture's side."""
    radius: float
    """Radius of the circle around the shape, as a fraction of the picture's side."""
    tilt: float
    """Rotation in radians, clockwise on the screen."""

    @property
    def class_name(self) -> str:
        """Colour and shape, such as "red circle": the class of the zero-shot task."""
        return f"{self.colour} {self.shape}"

    @property
    def position(self) -> str:
        """The grid cell in words: "top left", "top", …, "centre", …, "bottom right"."""
        rows, columns = ("top", "", "bottom"), ("left", "", "right")
        return f"{rows[self.row]} {columns[self.column]}".strip() or "centre"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A picture's whole content; no two of its objects have both colour and shape in common."""

    seed: int
    split: Split
    index: int
    max_objects: int = MAX_OBJECTS
    """Largest number of objects in a scene of its world."""
    objects: tuple[SceneObject, ...]
    """One to three objects. The first is the main one: if there are several, the only large one."""

    @property
    def main(self) -> SceneObject:
        """The object that the scene's class names."""
        return self.objects[0]


def is_held_out(colour: str, shape: str) -> bool:
    """Whether no training scene shows this pair: 16 of 64, two for each colour and each shape."""
    return (COLOURS.index(colour) + SHAPES.index(shape)) % 4 == _HELD_OUT_RESIDUE


@cache
def colour_shape_pairs(split: Split = "all") -> tuple[Pair, ...]:
    """Return the (colour, shape) pairs of main objects: 48 in "train", 16 in "test", all 64."""
    _check_split(split)
    pairs = ((colour, shape) for colour in COLOURS for shape in SHAPES)
    return tuple(
        pair for pair in pairs if split == "all" or is_held_out(*pair) == (split == "test")
    )


def surrounding_pairs(split: Split) -> tuple[Pair, ...]:
    """Return the pairs of all other objects: never a held-out one, unless the split is "all"."""
    return colour_shape_pairs("all" if split == "all" else "train")


def class_names(split: Split = "all") -> tuple[str, ...]:
    """Return the classes, such as "red circle". Labels of samples index the 64 of "all"."""
    return tuple(f"{colour} {shape}" for colour, shape in colour_shape_pairs(split))


def make_scene(
    index: int, *, seed: int, split: Split = "all", max_objects: int = MAX_OBJECTS
) -> Scene:
    """Return scene `index`, a function of (seed, split, index, max_objects) alone.

    "train" shows no held-out pair; in "test" the main object always is one and the others never
    are; "all" draws from every pair. Raises ValueError for another split, a negative index or a
    number of objects outside 1…3.
    """
    _check_split(split)
    if index < 0:
        raise ValueError(f"The scene index is {index}; expected 0 or more.")
    if not 1 <= max_objects <= MAX_OBJECTS:
        raise ValueError(f"max_objects is {max_objects}; expected 1 to {MAX_OBJECTS}.")
    rng = keyed_rng("tiny world", seed, split, index, "scene")
    count = min(pick(rng, _OBJECT_COUNTS), max_objects)
    pairs = [pick(rng, colour_shape_pairs(split))]
    while len(pairs) < count:
        pair = pick(rng, surrounding_pairs(split))
        if pair not in pairs:
            pairs.append(pair)
    cells = list(pick(rng, _CELL_SETS))
    sizes: list[Size] = [pick(rng, SIZES) if count == 1 else "large", "small", "small"]
    radii = SOLITARY_RADII if max_objects == 1 else RADII
    objects = tuple(
        _make_object(rng, pair, size, cells.pop(int(rng.random() * len(cells))), radii[size])
        for pair, size in zip(pairs, sizes, strict=False)
    )
    return Scene(seed=seed, split=split, index=index, max_objects=max_objects, objects=objects)


def _make_object(
    rng: np.random.Generator,
    pair: Pair,
    size: Size,
    cell: tuple[int, int],
    radii: tuple[float, float],
) -> SceneObject:
    row, column = cell
    radius = _between(rng, *radii)
    return SceneObject(
        colour=pair[0],
        shape=pair[1],
        texture=pick(rng, TEXTURES),
        size=size,
        row=row,
        column=column,
        centre=(_place(rng, column, radius), _place(rng, row, radius)),
        radius=radius,
        tilt=_between(rng, -_LARGEST_TILT, _LARGEST_TILT),
    )


def _place(rng: np.random.Generator, cell: int, radius: float) -> float:
    """A centre near that of the cell, so that a large object stays within the picture."""
    place = CELL_CENTRES[cell] + _between(rng, -_CENTRE_JITTER, _CENTRE_JITTER)
    return min(max(place, radius), 1 - radius)


def pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    """Return one of `choices`; ten times as fast as `rng.choice` on a short sequence."""
    return choices[int(rng.random() * len(choices))]


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _check_split(split: str) -> None:
    if split not in ("train", "test", "all"):
        raise ValueError(f"Unknown split {split!r}; expected 'train', 'test' or 'all'.")
