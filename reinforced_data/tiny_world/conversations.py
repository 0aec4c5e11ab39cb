"""Scenes as conversations in LLaVA's form, to train and to test vision-language models.

`KEY.json` of a sample holds {"conversations": [{"from": "human", "value": …, "kind": …},
{"from": "gpt", "value": …}, …]} beside the picture; "kind" names the group of a question that is
scored apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Literal

from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.tiny_world.questions import scene_questions
from zoo.reinforced_data.tiny_world.render import render_scene
from zoo.reinforced_data.tiny_world.samples import encode_png, sample_key
from zoo.reinforced_data.tiny_world.scene import (
    MAX_OBJECTS,
    Scene,
    SceneObject,
    Split,
    make_scene,
)

ConversationStyle = Literal["description", "questions", "mixed"]
"""What is talked about: "description" of all objects, "questions" of every kind in any order, or
"mixed": three of the questions, then the description."""
Pair = tuple[str, str, str]
"""Kind, question, answer."""

_QUESTIONS_OF_MIXED = 3


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
    description = ("description", "describe the picture.", describe(scene.objects))
    if style == "description":
        return (description,)
    asked = scene_questions(scene)
    in_any_order = [asked[number] for number in rng.permutation(len(asked))]
    pairs = [(one.kind, one.question, one.answer) for one in in_any_order]
    if style == "questions":
        return tuple(pairs)
    return (*pairs[:_QUESTIONS_OF_MIXED], description)


def describe(objects: Sequence[SceneObject]) -> str:
    """Return where every object stands, row by row, its size, shape, texture and colour.

    The shape comes before the colour: after a colour, a language model guesses the shape from the
    combinations that the split "train" shows, without looking, and denies the others.
    """
    in_order = sorted(objects, key=lambda item: (item.row, item.column))
    return "; ".join(
        f"{item.position}: {item.size} {item.shape}, {item.texture} {item.colour}"
        for item in in_order
    )


def _llava(pairs: Sequence[Pair]) -> bytes:
    turns: list[dict[str, str]] = []
    for kind, question, answer in pairs:
        turns.append({"from": "human", "value": question, "kind": kind})
        turns.append({"from": "gpt", "value": answer})
    return json.dumps({"conversations": turns}).encode()
