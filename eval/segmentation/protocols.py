"""How a picture is shown to a model and how its pixels get their classes.

Two protocols are in use, and a figure means nothing without its protocol:

- "square", of SAM-CLIP (arXiv 2310.15308, appendix) after CLIPpy: the picture is squeezed into one
  square, each class is asked for by its name alone.
- "sliding", of SCLIP (arXiv 2312.01597; its `configs/` and `clip_segmentor.py`), which MaskCLIP's
  later peers share: the shorter side is resized, overlapping windows are averaged, a class is asked
  for by synonyms, too, and its best one counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from zoo.eval.segmentation.class_names import BACKGROUND, BACKGROUND_WORDS, Classes

Background = Literal["words", "name", "none"]
ProtocolName = Literal["square", "sliding"]


@dataclass(frozen=True, kw_only=True)
class Sliding:
    """Numbers of the sliding window, in pixels, and of what follows it."""

    short_side: int = 336
    """The picture's shorter side."""
    window: int = 224
    """Side of a window."""
    stride: int = 112
    """From one window to the next."""
    logit_scale: float = 40.0
    """Multiplies cosines before the softmax over the queries, which only the threshold reads."""
    background_threshold: float = 0.1
    """Where there is a background."""
    least_area: float = 0.0
    """Classes with a smaller share of the foreground are dropped from a picture."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way to go from a picture to a class for every pixel.

    Raises ValueError for values that go together with nothing.
    """

    name: ProtocolName
    image_size: int
    """Side of the square, or the shorter side of the picture under the window."""
    window: int | None = None
    """Side of the sliding window; None for the square."""
    stride: int | None = None
    synonyms: bool = False
    """Whether classes are asked for by synonyms, too."""
    background: Background | None = None
    """How class 0 is predicted where it is the background: by the words of `class_names` for what
    lies behind objects, by its name "background", or by the threshold alone; None where class 0 is
    a class as all others."""
    background_threshold: float = 0.0
    """Pixels whose best query has a smaller probability are background."""
    least_area: float = 0.0
    """Classes with a smaller share of a picture's foreground pixels give way to the next best."""
    logit_scale: float | None = None
    """Of the softmax over the queries; None for the model's own."""

    def __post_init__(self) -> None:
        if self.background not in (None, *get_args(Background)):
            raise ValueError(
                f"The background is '{self.background}'; give {', '.join(get_args(Background))}."
            )
        if not 0 <= self.background_threshold < 1:
            raise ValueError(
                f"The background threshold is {self.background_threshold}; give a probability, "
                "0 to 1."
            )
        if self.background is None and self.background_threshold:
            raise ValueError("The benchmark has no background class: leave the threshold out.")
        if self.background == "none" and not self.background_threshold:
            raise ValueError(
                "With background 'none' and no threshold no pixel would ever be background: give "
                "a threshold, say 0.5."
            )
        if self.image_size < (self.window or 1):
            raise ValueError(
                f"The image size is {self.image_size}; give at least {self.window or 1} pixels."
            )

    def record(self) -> dict[str, Any]:
        """Return what a result says of it."""
        fields = {key: value for key, value in asdict(self).items() if value is not None}
        return {"protocol": fields.pop("name"), **fields}


@dataclass(frozen=True)
class Queries:
    """The texts asked for and the class that each stands for."""

    texts: tuple[str, ...]
    classes: tuple[int, ...]


def make_queries(classes: Classes, protocol: Protocol) -> Queries:
    """Return the queries of `classes`, the first of which is the background where the protocol has
    one."""
    asked = [names if protocol.synonyms else names[:1] for names in classes]
    first = 0
    if protocol.background == "words":
        asked[0] = BACKGROUND_WORDS
    elif protocol.background == "name":
        asked[0] = BACKGROUND
    elif protocol.background == "none":
        first = 1
    pairs = [(text, index) for index in range(first, len(asked)) for text in asked[index]]
    return Queries(tuple(text for text, _ in pairs), tuple(index for _, index in pairs))


def openai_templates() -> tuple[str, ...]:
    """Return the 80 sentences of OpenAI for ImageNet, `{}` in the name's place."""
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

    return tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)


def window_starts(length: int, window: int, stride: int) -> Sequence[int]:
    """Return where windows begin on an axis; the last one ends with it (mmsegmentation's)."""
    count = max(length - window + stride - 1, 0) // stride + 1
    return [max(min(number * stride, length - window), 0) for number in range(count)]
