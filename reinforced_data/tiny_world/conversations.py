"""Scenes as conversations in LLaVA's form, to train and to test vision-language models.

`KEY.json` of a sample holds {"conversations": [{"from": "human", "value": …, "kind": …},
{"from": "gpt", "value": …}, …]} beside the picture; "kind" names the group of a question that is
scored apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Literal, TypeVar

import numpy as np

from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.tiny_world.questions import NOWHERE, directions, scene_questions
from zoo.reinforced_data.tiny_world.render import render_scene
from zoo.reinforced_data.tiny_world.samples import encode_png, sample_key
from zoo.reinforced_data.tiny_world.scene import (
    CELL_CENTRES,
    COLOURS,
    MAX_OBJECTS,
    Scene,
    SceneObject,
    Split,
    make_scene,
)

ConversationStyle = Literal["description", "places", "questions", "all"]
"""What is talked about: "description" of every cell; "places" of every colour, and which way it is
from one to another; "questions" of every kind; or "all" of the last two, in any order."""
Pair = tuple[str, str, str]
"""Kind, question, answer."""

Item = TypeVar("Item")

_EMPTY = "no shape"


def conversation_samples(
    count: int,
    *,
    seed: int,
    split: Split = "train",
    image_size: int = 64,
    max_objects: int = MAX_OBJECTS,
    style: ConversationStyle = "questions",
) -> Iterator[Sample]:
    """Return conversations about scenes 0 to `count` - 1 of (seed, split), a function of it.

    `image` is a PNG of `image_size` pixels a side, `extra` holds `json`. Raises ValueError for a
    count below 1.
    """
    if count < 1:
        raise ValueError(f"count is {count}; expected at least 1.")
    # Not a generator function: it would find a bad value only when the first sample is asked for.
    scenes = (
        make_scene(index, seed=seed, split=split, max_objects=max_objects) for index in range(count)
    )
    return (
        Sample(
            key=sample_key(scene),
            image=encode_png(render_scene(scene, image_size=image_size)[0]),
            extra={"json": _llava(scene_conversation(scene, style))},
        )
        for scene in scenes
    )


def scene_conversation(scene: Scene, style: ConversationStyle) -> tuple[Pair, ...]:
    """Return the questions and answers of a conversation, a function of scene and style.

    The order is drawn: in a fixed one the text of earlier answers would tell the later ones.
    """
    rng = keyed_rng("tiny world", scene.seed, scene.split, scene.index, "conversation", style)
    pairs = _pairs(rng, scene, style)
    return tuple(_in_drawn_order(rng, pairs))


def _pairs(rng: np.random.Generator, scene: Scene, style: ConversationStyle) -> list[Pair]:
    if style == "description":
        return [("description", "describe the picture.", _describe_cells(scene.objects))]
    pairs: list[Pair] = []
    if style in ("places", "all"):
        pairs += _describe_places(rng, scene)
    if style in ("questions", "all"):
        pairs += [(one.kind, one.question, one.answer) for one in scene_questions(scene)]
    return pairs


def _describe_cells(objects: Sequence[SceneObject]) -> str:
    """Return what is in each of the grid's cells, row by row.

    Every cell takes as many words, so that each stands as far from its visual token as the others
    and a language model need not count: where empty cells took fewer, it learned no colours (in
    prototypes, for as long as they were trained).
    """
    cells = {(item.row, item.column): item.class_name for item in objects}
    side = range(len(CELL_CENTRES))
    return "; ".join(", ".join(cells.get((row, column), _EMPTY) for column in side) for row in side)


def _describe_places(rng: np.random.Generator, scene: Scene) -> list[Pair]:
    pairs = [("description", "where is each colour?", _describe_colours(rng, scene.objects))]
    ways = directions(scene)
    if ways:
        pairs.append(("description", "which way is it from each?", _describe_ways(rng, ways)))
    return pairs


def _describe_colours(rng: np.random.Generator, objects: Sequence[SceneObject]) -> str:
    """Return where each of all colours is, in a drawn order.

    Those that are nowhere, too: to tell whether a colour is there at all a model has to look for
    it, and where it is comes with that. Asked of what is there alone, it names the place of any
    object (in prototypes for as long as it was trained).
    """
    return "; ".join(
        f"{colour} {_places_of(colour, objects)}" for colour in _in_drawn_order(rng, COLOURS)
    )


def _describe_ways(rng: np.random.Generator, ways: Sequence[tuple[str, str, str]]) -> str:
    """Return which way it is from each colour to each other, in a drawn order."""
    return "; ".join(
        f"{one} to {other} {direction}" for one, other, direction in _in_drawn_order(rng, ways)
    )


def _in_drawn_order(rng: np.random.Generator, items: Sequence[Item]) -> Iterator[Item]:
    return (items[number] for number in rng.permutation(len(items)))


def _places_of(colour: str, objects: Sequence[SceneObject]) -> str:
    return " and ".join(item.position for item in objects if item.colour == colour) or NOWHERE


def _llava(pairs: Sequence[Pair]) -> bytes:
    turns: list[dict[str, str]] = []
    for kind, question, answer in pairs:
        turns.append({"from": "human", "value": question, "kind": kind})
        turns.append({"from": "gpt", "value": answer})
    return json.dumps({"conversations": turns}).encode()
