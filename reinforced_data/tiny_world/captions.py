"""Captions of a scene from a small grammar, and the noise that web captions have.

Every clean caption is true of its scene, and few tell all of it: attributes are left out, words
vary, objects are skipped. A noun phrase means "at least one such object".
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np

from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.tiny_world.scene import (
    SIZES,
    TEXTURES,
    Scene,
    SceneObject,
    Split,
    colour_shape_pairs,
    make_scene,
    pick,
)

CLASSIFICATION_TEMPLATES = (
    "a {}.",
    "a picture of a {}.",
    "an image of a {}.",
    "there is a {}.",
)
"""Zero-shot prompts; `{}` takes a name of `class_names()`."""

_NUMBER_WORDS = ("one", "two", "three")

SYNONYMS = {
    "small": ("small", "small", "little", "tiny"),
    "large": ("large", "large", "big"),
    "solid": ("solid", "plain"),
    "striped": ("striped", "striped", "stripy"),
    "dotted": ("dotted", "dotted", "spotted"),
    "checkered": ("checkered", "checkered", "chequered"),
    "circle": ("circle", "circle", "circle", "disc"),
    "ring": ("ring", "ring", "ring", "hoop"),
    "cross": ("cross", "cross", "cross", "plus sign"),
    "diamond": ("diamond", "diamond", "diamond", "rhombus"),
}
"""Words for an attribute, likelier ones repeated; attributes not listed have one word."""

_TRAILING_TEXTURES = {
    "striped": "with stripes",
    "dotted": "with dots",
    "checkered": "with a checkered pattern",
}
_PLACES = {
    "centre": ("in the centre", "in the middle"),
    "left": ("on the left", "on the left side"),
    "right": ("on the right", "on the right side"),
    "top": ("at the top",),
    "bottom": ("at the bottom",),
}
_PICTURE_WORDS = ("a picture of", "an image of", "a photo of", "a drawing of")
_ALT_TEXTS = ("image", "photo", "picture", "untitled", "thumbnail", "click to enlarge")
_OTHER_SCENES = 1_000_000


def scene_captions(scene: Scene, count: int, *, caption_noise: float = 0.0) -> tuple[str, ...]:
    """Return `count` captions, a function of the scene alone; the wordings take turns.

    With probability `caption_noise` (0 to 1) each is replaced by what stands next to pictures on
    the web: half the time alt-text or a file name, half the time a caption of another scene of
    the same split (wrong but for chance). Raises ValueError for a probability outside 0 to 1.
    """
    if not 0 <= caption_noise <= 1:
        raise ValueError(f"caption_noise is {caption_noise}; expected a probability, 0 to 1.")
    rng = keyed_rng("tiny world", scene.seed, scene.split, scene.index, "captions")
    wordings = _SINGLE_WORDINGS if len(scene.objects) == 1 else _SEVERAL_WORDINGS
    first = int(rng.random() * len(wordings))
    captions: list[str] = []
    for number in range(count):
        clean = _finish(rng, wordings[(first + number) % len(wordings)](rng, scene))
        captions.append(_web_caption(rng, scene) if rng.random() < caption_noise else clean)
    return tuple(captions)


def _finish(rng: np.random.Generator, caption: str) -> str:
    return f"{caption}." if rng.random() < 0.3 else caption


def _web_caption(rng: np.random.Generator, scene: Scene) -> str:
    kind = rng.random()
    if kind < 0.25:
        return pick(rng, _ALT_TEXTS)
    if kind < 0.5:
        return f"IMG_{int(rng.random() * 10_000):04d}.jpg"
    shift = 1 + int(rng.random() * _OTHER_SCENES)
    other = make_scene(
        scene.index + shift, seed=scene.seed, split=scene.split, max_objects=scene.max_objects
    )
    return scene_captions(other, 1)[0]


def with_article(words: str) -> str:
    """Put "a" or "an" before `words`."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def noun_phrase(rng: np.random.Generator, item: SceneObject) -> str:
    """Describe one object by some of its attributes, at least its colour or its shape."""
    shown = rng.random(4).tolist()
    shape = _word(rng, item.shape) if shown[0] < 0.95 else "shape"
    before = [item.colour] if shown[1] < 0.9 or shape == "shape" else []
    after = ""
    if shown[2] < (0.2 if item.texture == "solid" else 0.6):
        if item.texture in _TRAILING_TEXTURES and rng.random() < 0.3:
            after = " " + _TRAILING_TEXTURES[item.texture]
        else:
            # Either order of colour and texture.
            before.insert(int(rng.random() * 2), _word(rng, item.texture))
    if shown[3] < 0.5:
        before.insert(0, _word(rng, item.size))
    return with_article(" ".join([*before, shape])) + after


def _word(rng: np.random.Generator, attribute: str) -> str:
    return pick(rng, SYNONYMS.get(attribute, (attribute,)))


def place_phrase(rng: np.random.Generator, item: SceneObject) -> str:
    """Say where on the grid an object is, such as "at the top left"."""
    corner = (f"at the {item.position}", f"in the {item.position} corner")
    return pick(rng, _PLACES.get(item.position, corner))


def _list(rng: np.random.Generator, scene: Scene) -> str:
    order = rng.permutation(len(scene.objects))
    phrases = [noun_phrase(rng, scene.objects[number]) for number in order]
    return " and ".join(filter(None, [", ".join(phrases[:-1]), phrases[-1]]))


def _picture(rng: np.random.Generator, scene: Scene) -> str:
    return f"{pick(rng, _PICTURE_WORDS)} {_list(rng, scene)}"


def _there(rng: np.random.Generator, scene: Scene) -> str:
    verb = "is" if len(scene.objects) == 1 else "are"
    return f"there {verb} {_list(rng, scene)}"


def _place(rng: np.random.Generator, scene: Scene) -> str:
    item = pick(rng, scene.objects)
    phrase, place = noun_phrase(rng, item), place_phrase(rng, item)
    return pick(rng, (f"{phrase} {place}", f"{place} there is {phrase}", f"{place}, {phrase}"))


def _main_only(rng: np.random.Generator, scene: Scene) -> str:
    return noun_phrase(rng, scene.main)


def _count(rng: np.random.Generator, scene: Scene) -> str:
    number = len(scene.objects)
    shapes = f"{_NUMBER_WORDS[number - 1]} shape{'s' if number > 1 else ''}"
    return f"{shapes}, {'one of them ' if number > 1 else ''}{noun_phrase(rng, scene.main)}"


def _relation(rng: np.random.Generator, scene: Scene) -> str:
    pairs = tuple(combinations(scene.objects, 2))
    first, second = pick(rng, pairs)
    if rng.random() < 0.5:
        first, second = second, first
    relation = pick(rng, relations(first, second))
    verb = pick(rng, ("", "is "))
    return f"{noun_phrase(rng, first)} {verb}{relation} {noun_phrase(rng, second)}"


def relations(first: SceneObject, second: SceneObject) -> tuple[str, ...]:
    """Return the relation words that hold from `first` to `second`, by grid row and column."""
    found: list[str] = []
    if first.column != second.column:
        side = "left" if first.column < second.column else "right"
        found += [f"{side} of", f"to the {side} of"]
    if first.row != second.row:
        found += ["above"] if first.row < second.row else ["below", "under"]
    return tuple(found)


_Wording = Callable[[np.random.Generator, Scene], str]
_SINGLE_WORDINGS: tuple[_Wording, ...] = (_list, _place, _picture, _count, _there)
_SEVERAL_WORDINGS: tuple[_Wording, ...] = (
    _list,
    _place,
    _relation,
    _picture,
    _count,
    _there,
    _main_only,
)


def candidate_captions(split: Split = "train") -> tuple[str, ...]:
    """Return every sentence that a retrieval captioner may choose from.

    For the split's (colour, shape) pairs: each alone, with and without size and texture; each at
    each place; every two together. 2,280 sentences for "train", which name no held-out pair.
    """
    names = [f"{colour} {shape}" for colour, shape in colour_shape_pairs(split)]
    adjectives = ["", *SIZES, *TEXTURES, *(f"{s} {t}" for s in SIZES for t in TEXTURES)]
    singles = [with_article(f"{words} {name}".strip()) for words in adjectives for name in names]
    places = _candidate_places()
    placed = [f"{with_article(name)} {place}" for name in names for place in places]
    doubles = [f"{with_article(a)} and {with_article(b)}" for a, b in combinations(names, 2)]
    return (*singles, *placed, *doubles)


def _candidate_places() -> list[str]:
    corners = [
        f"at the {row} {column}" for row in ("top", "bottom") for column in ("left", "right")
    ]
    return [*(words[0] for words in _PLACES.values()), *corners]
