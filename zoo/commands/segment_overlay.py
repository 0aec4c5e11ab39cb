"""A photograph under the colours of its classes, with a legend."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from zoo.models.sam_clip.class_maps import BACKGROUND_CLASS

_OPACITY = 0.55
_GOLDEN_RATIO = 0.61803398875
"""Steps of it around the circle of hues keep every next one far from those before."""
Colour = tuple[int, int, int]


def overlay(picture: Image.Image, classes: Tensor, names: Sequence[str]) -> Image.Image:
    """Return an RGB picture under the colours of `classes`, int64 (H, W), and below it the names of
    those that it has. The background keeps the picture's own colours, darker."""
    palette = np.array([colour_of(number) for number in range(len(names))] + [(0, 0, 0)])
    # The last entry is that of -1, the background.
    colours = palette[classes.numpy()].astype(float)
    blended = (1 - _OPACITY) * np.asarray(picture, float) + _OPACITY * colours
    painted = Image.fromarray(blended.round().astype(np.uint8))
    present: list[int] = [n for n in classes.unique().tolist() if n != BACKGROUND_CLASS]
    legend = _legend(painted.width, [(names[n], colour_of(n)) for n in present])
    result = Image.new("RGB", (painted.width, painted.height + legend.height))
    result.paste(painted, (0, 0))
    result.paste(legend, (0, painted.height))
    return result


def colour_of(number: int) -> Colour:
    """Return the colour of a class; the same in every picture."""
    hue = number * _GOLDEN_RATIO % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85 - 0.25 * (number // 6 % 2), 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def _legend(width: int, entries: Sequence[tuple[str, Colour]]) -> Image.Image:
    """White rows of coloured squares with names, as many beside each other as there is room for."""
    size = max(10, width // 40)
    font = ImageFont.load_default(size)
    line, x, y = round(1.6 * size), 0, 0
    places: list[tuple[int, int]] = []
    for name, _ in entries:
        room = line + round(font.getlength(name)) + size
        if x and x + room > width:
            x, y = 0, y + line
        places.append((x, y))
        x += room
    image = Image.new("RGB", (width, y + line if entries else 0), "white")
    draw = ImageDraw.Draw(image)
    for (x, y), (name, colour) in zip(places, entries, strict=True):
        edge = (line - size) // 2
        draw.rectangle((x + edge, y + edge, x + edge + size, y + edge + size), fill=colour)
        draw.text((x + line, y + line // 2), name, font=font, fill="black", anchor="lm")
    return image
