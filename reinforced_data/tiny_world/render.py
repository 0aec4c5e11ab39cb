"""Draw a scene: signed distances give smooth edges and the mask at any picture size.

Inside a shape's own frame the unit is its radius, y points down, and every outline lies within
OUTLINE_REACH of the origin. Distances are negative inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.tiny_world.scene import Scene, SceneObject

Floats = NDArray[np.floating[Any]]

TONES = {
    "red": ((214, 38, 38), (245, 165, 165)),
    "orange": ((245, 130, 24), (120, 60, 10)),
    "yellow": ((248, 222, 40), (130, 112, 10)),
    "green": ((44, 160, 60), (165, 230, 175)),
    "blue": ((40, 84, 214), (165, 190, 250)),
    "purple": ((140, 52, 172), (225, 180, 240)),
    "black": ((18, 18, 20), (105, 105, 110)),
    "white": ((246, 246, 244), (165, 165, 160)),
}
"""RGB, 0 to 255, of each colour word and of the pattern on it."""

OUTLINE_REACH = 1.03
"""Greatest distance of an outline from its centre, in radii: a square's corner."""
MIN_IMAGE_SIZE = 16
"""Side in pixels below which a small shape has no visible form."""

_BACKGROUND_TONES = (70.0, 185.0)
_BACKGROUND_TINT = 40.0
_COLOUR_JITTER = 14.0
_NOISE = 16  # width of the uniform noise on every channel, of 255
_PATTERN_PERIOD = 0.08  # of the picture's side: 5 pixels of 64
_RIM = 0.016  # of the picture's side, between outline and pattern: 1 pixel of 64
_INNER_STAR_RADIUS = 0.46
_HEART_HALF = 0.72
_HEART_TOP = 0.13


def render_scene(
    scene: Scene, *, image_size: int = 64
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the picture uint8 (S, S, 3) and the mask uint8 (S, S).

    The mask is 0 on the background and i + 1 on `scene.objects[i]`. Same scene and size, same
    bytes. Raises ValueError for an image size below 16.
    """
    if image_size < MIN_IMAGE_SIZE:
        raise ValueError(f"The image size is {image_size}; expected {MIN_IMAGE_SIZE} or more.")
    rng = keyed_rng("tiny world", scene.seed, scene.split, scene.index, "pixels")
    image = _background(rng, image_size)
    mask = np.zeros((image_size, image_size), np.uint8)
    for number, item in enumerate(scene.objects, start=1):
        _draw(rng, item, number, image, mask)
    image += rng.integers(0, _NOISE, image.shape, np.uint8)
    image -= _NOISE / 2
    return image.clip(0, 255).astype(np.uint8), mask


def _background(rng: np.random.Generator, size: int) -> Floats:
    """Blend two muted tones along a random direction, with a soft wave across it."""
    x, y = _grid(size)
    low, high = _BACKGROUND_TONES
    tones = low + (high - low) * rng.random((2, 1)) + _BACKGROUND_TINT * (rng.random((2, 3)) - 0.5)
    angle, phase, waves = (rng.random(3) * (math.tau, math.tau, 2.0)).tolist()
    along = math.cos(angle) * x + math.sin(angle) * y
    across = math.cos(angle) * y - math.sin(angle) * x
    blend = 0.5 + 0.5 * along + 0.15 * np.sin(phase + math.tau * waves * across)
    first, second = tones.astype(np.float32)
    return first + blend[..., None] * (second - first)


@cache
def _grid(size: int) -> tuple[Floats, Floats]:
    """Return x (1, S) and y (S, 1) of the pixel centres, -0.5 to 0.5."""
    steps = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    return steps[None, :], steps[:, None]


def _draw(
    rng: np.random.Generator, item: SceneObject, number: int, image: Floats, mask: NDArray[np.uint8]
) -> None:
    size = len(image)
    rows, columns = (_span(centre, item.radius, size) for centre in reversed(item.centre))
    x, y = _grid(size)
    dx = x[:, columns] + np.float32(0.5 - item.centre[0])
    dy = y[rows] + np.float32(0.5 - item.centre[1])
    cosine, sine = math.cos(item.tilt), math.sin(item.tilt)
    u = (cosine * dx + sine * dy) / item.radius
    v = (cosine * dy - sine * dx) / item.radius
    distance = _DISTANCES[item.shape](u, v) * (item.radius * size)  # pixels
    periods = item.radius / _PATTERN_PERIOD
    colour = _colour(rng, item, u * periods, v * periods, distance, size)
    patch = image[rows, columns]
    patch += (0.5 - distance).clip(0, 1)[..., None] * (colour - patch)
    mask[rows, columns][distance < 0] = number


def _span(centre: float, radius: float, size: int) -> slice:
    reach = radius * OUTLINE_REACH + 1 / size
    return slice(max(0, int((centre - reach) * size)), math.ceil((centre + reach) * size))


def _colour(
    rng: np.random.Generator, item: SceneObject, u: Floats, v: Floats, distance: Floats, size: int
) -> Floats:
    """Return the colour (h, w, 3) or, for a solid shape, (3,); u and v count pattern periods."""
    jitter = _COLOUR_JITTER * (2 * rng.random(3) - 1)
    base, second = (np.array(TONES[item.colour]) + jitter).clip(0, 255).astype(np.float32)
    if item.texture == "solid":
        return base
    softness = _PATTERN_PERIOD * size / math.tau  # one pixel from tone to tone
    pattern = (0.5 + softness * _PATTERNS[item.texture](u, v)).clip(0, 1)
    share = pattern * (-_RIM * size - distance).clip(0, 1)
    return base + share[..., None] * (second - base)


def _stripes(u: Floats, v: Floats) -> Floats:
    return np.sin(math.tau * u) + 0 * v


def _dots(u: Floats, v: Floats) -> Floats:
    # Positive within a third of a period around every point of a square lattice.
    return np.cos(math.tau * u) + np.cos(math.tau * v) - 0.6


def _checks(u: Floats, v: Floats) -> Floats:
    return np.sin(math.pi * 1.2 * u) * np.sin(math.pi * 1.2 * v)


def _circle(u: Floats, v: Floats) -> Floats:
    return np.hypot(u, v) - 0.92


def _square(u: Floats, v: Floats) -> Floats:
    return np.maximum(abs(u), abs(v)) - 0.72


def _triangle(u: Floats, v: Floats) -> Floats:
    return np.maximum(v, math.sqrt(0.75) * abs(u) - 0.5 * v) - 0.5


def _star(u: Floats, v: Floats) -> Floats:
    """Fold the plane onto half a ray of the star; one edge is left there."""
    sector = math.tau / 5
    angle = abs((np.arctan2(u, -v) + sector / 2) % sector - sector / 2)
    radius = np.hypot(u, v)
    inner_x = _INNER_STAR_RADIUS * math.cos(sector / 2)
    inner_y = _INNER_STAR_RADIUS * math.sin(sector / 2)
    length = math.hypot(1 - inner_x, inner_y)
    inward = inner_y * (radius * np.cos(angle) - 1) + (1 - inner_x) * radius * np.sin(angle)
    return inward / length


def _ring(u: Floats, v: Floats) -> Floats:
    return abs(np.hypot(u, v) - 0.7) - 0.24


def _cross(u: Floats, v: Floats) -> Floats:
    u, v = abs(u), abs(v)
    return np.minimum(np.maximum(u - 0.3, v - 0.95), np.maximum(u - 0.95, v - 0.3))


def _diamond(u: Floats, v: Floats) -> Floats:
    return (abs(u) / 0.62 + abs(v) - 1) / math.hypot(1 / 0.62, 1)


def _heart(u: Floats, v: Floats) -> Floats:
    """Unite a square on its corner with two circles on its upper sides."""
    u, v, half = abs(u), v - _HEART_TOP, _HEART_HALF
    square = (u + abs(v) - half) / math.sqrt(2)
    lobe = np.hypot(u - half / 2, v + half / 2) - half / math.sqrt(2)
    return np.minimum(square, lobe)


_DISTANCES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "ring": _ring,
    "cross": _cross,
    "diamond": _diamond,
    "heart": _heart,
}
_PATTERNS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "striped": _stripes,
    "dotted": _dots,
    "checkered": _checks,
}
