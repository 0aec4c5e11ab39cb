"""Questions about a scene, each with one right answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np

from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.tiny_world.captions import with_article
from zoo.reinforced_data.tiny_world.scene import (
    COLOURS,
    Scene,
    SceneObject,
    pick,
    surrounding_pairs,
)

QuestionKind = Literal["colour", "count", "existence", "place", "relation"]

NOWHERE = "nowhere"
"""Where the shape of a colour is that the scene lacks."""
_NOWHERE_QUESTIONS = 2


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question and its answer: a colour, a digit, "yes" or "no", a place, a direction."""

    kind: QuestionKind
    question: str
    answer: str


def scene_questions(scene: Scene) -> tuple[Question, ...]:
    """Return questions of every kind, a function of the scene alone.

    One about the colour of each object that its size and shape point out, three counts, two about
    existence (one "yes", one "no"), the place of each object that its colour points out and of two
    that are nowhere, and how each two of these objects stand to each other.
    """
    rng = keyed_rng("tiny world", scene.seed, scene.split, scene.index, "questions")
    return (
        *_colours(scene),
        *_counts(rng, scene),
        *_existence(rng, scene),
        *_places(rng, scene),
        *_relations(scene),
    )


def directions(scene: Scene) -> tuple[tuple[str, str, str], ...]:
    """Return two colours and which way it is from the first to the second ("above", "above left",
    …), of each two objects whose colours no other has."""
    return tuple(
        (one.colour, other.colour, _direction(one, other))
        for one, other in permutations(_lone(scene), 2)
    )


def _colours(scene: Scene) -> Iterator[Question]:
    shapes = [item.shape for item in scene.objects]
    looks = [(item.size, item.shape) for item in scene.objects]
    for item in scene.objects:
        if shapes.count(item.shape) == 1:
            name = item.shape
        elif looks.count((item.size, item.shape)) == 1:
            name = f"{item.size} {item.shape}"
        else:
            continue
        yield Question(kind="colour", question=f"what colour is the {name}?", answer=item.colour)


def _counts(rng: np.random.Generator, scene: Scene) -> Iterator[Question]:
    shapes = [item.shape for item in scene.objects]
    colours = [item.colour for item in scene.objects]
    shape, colour = pick(rng, shapes), pick(rng, colours)
    plural = f"{shape}es" if shape == "cross" else f"{shape}s"
    yield _count("shapes", len(shapes))
    yield _count(plural, shapes.count(shape))
    yield _count(f"{colour} shapes", colours.count(colour))


def _count(things: str, number: int) -> Question:
    return Question(kind="count", question=f"how many {things} are there?", answer=str(number))


def _existence(rng: np.random.Generator, scene: Scene) -> Iterator[Question]:
    present = [(item.colour, item.shape) for item in scene.objects]
    absent = [pair for pair in surrounding_pairs(scene.split) if pair not in present]
    for pair, answer in ((pick(rng, present), "yes"), (pick(rng, absent), "no")):
        name = with_article(" ".join(pair))
        yield Question(kind="existence", question=f"is there {name}?", answer=answer)


def _places(rng: np.random.Generator, scene: Scene) -> Iterator[Question]:
    present = {item.colour for item in scene.objects}
    absent = [colour for colour in COLOURS if colour not in present]
    drawn = rng.permutation(len(absent))[:_NOWHERE_QUESTIONS]
    yield from (_place(item.colour, item.position) for item in _lone(scene))
    yield from (_place(absent[number], NOWHERE) for number in drawn)


def _place(colour: str, place: str) -> Question:
    return Question(kind="place", question=f"where is the {colour} shape?", answer=place)


def _relations(scene: Scene) -> Iterator[Question]:
    for one, other, direction in directions(scene):
        question = f"which way is the {other} shape from the {one} shape?"
        yield Question(kind="relation", question=question, answer=direction)


def _lone(scene: Scene) -> list[SceneObject]:
    """The objects whose colour no other has."""
    colours = [item.colour for item in scene.objects]
    return [item for item in scene.objects if colours.count(item.colour) == 1]


def _direction(one: SceneObject, other: SceneObject) -> str:
    """Which way it is from `one` to `other`, by grid row and column."""
    rows = "above" if other.row < one.row else "below" if other.row > one.row else ""
    columns = "left" if other.column < one.column else "right" if other.column > one.column else ""
    return f"{rows} {columns}".strip()
