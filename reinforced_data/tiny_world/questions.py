"""Questions about a scene, each with one right answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.tiny_world.captions import relations, with_article
from zoo.reinforced_data.tiny_world.scene import Scene, SceneObject, pick, surrounding_pairs

QuestionKind = Literal["colour", "count", "existence", "relation"]


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question and its answer: a colour, a digit, "yes" or "no"."""

    kind: QuestionKind
    question: str
    answer: str


def scene_questions(scene: Scene) -> tuple[Question, ...]:
    """Return questions of every kind, a function of the scene alone.

    One about the colour of each object that its size and shape point out, three counts, two about
    existence (one "yes", one "no"), and one relation for each two objects.
    """
    rng = keyed_rng("tiny world", scene.seed, scene.split, scene.index, "questions")
    return (
        *_colours(scene),
        *_counts(rng, scene),
        *_existence(rng, scene),
        *_relations(rng, scene),
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


def _relations(rng: np.random.Generator, scene: Scene) -> Iterator[Question]:
    for first, second in combinations(scene.objects, 2):
        yield _relation(rng, first, second)


def _relation(rng: np.random.Generator, first: SceneObject, second: SceneObject) -> Question:
    asked, answer = (first, second), "yes"
    relation = pick(rng, relations(first, second))
    if rng.random() < 0.5:
        # The reverse of a strict order never holds.
        asked, answer = (second, first), "no"
    names = [item.class_name for item in asked]
    return Question(
        kind="relation", question=f"is the {names[0]} {relation} the {names[1]}?", answer=answer
    )
