"""Conversations about scenes are right, and loader and evaluation read them.

Run: .venv/bin/pytest tests/reinforced_data/tiny_world/test_tiny_world_conversations.py
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from zoo.cli import main
from zoo.eval.vision_language.conversation_files import read_questions
from zoo.reinforced_data.conversations.problems import Problems
from zoo.reinforced_data.conversations.sources import conversation_sources
from zoo.reinforced_data.tiny_world import (
    COLOURS,
    Scene,
    conversation_samples,
    make_scene,
    scene_questions,
)
from zoo.reinforced_data.tiny_world.conversations import scene_conversation
from zoo.reinforced_data.tiny_world.questions import directions

KINDS = {"colour", "count", "existence", "place", "relation"}


def scenes(count: int = 200) -> list[Scene]:
    return [make_scene(index, seed=3, split="train") for index in range(count)]


def test_a_description_tells_every_cell() -> None:
    for scene in scenes():
        ((kind, question, answer),) = scene_conversation(scene, "description")
        assert (kind, question) == ("description", "describe the picture.")
        cells = [row.split(", ") for row in answer.split("; ")]
        at = {(item.row, item.column): f"{item.colour} {item.shape}" for item in scene.objects}
        assert cells == [
            [at.get((row, column), "no shape") for column in range(3)] for row in range(3)
        ]


def test_places_are_those_of_all_colours_and_the_ways_between_them() -> None:
    first, firsts, lengths = set[str](), set[str](), set[int]()
    for scene in scenes():
        pairs = scene_conversation(scene, "places")
        told = {question: answer.split("; ") for _, question, answer in pairs}
        colours = told["where is each colour?"]
        assert sorted(colours) == sorted(map(partial(colour_and_places, scene), COLOURS))
        ways = [f"{one} to {other} {way}" for one, other, way in directions(scene)]
        assert sorted(told.get("which way is it from each?", ())) == sorted(ways)
        first.add(colours[0].split()[0])
        firsts.add(pairs[0][1])
        lengths.add(len(ways))
    assert first == set(COLOURS), "the order of colours is drawn"
    assert len(firsts) == 2, "so is that of the two questions"
    assert lengths == {0, 2, 6}, "of one, two and three colours"


def colour_and_places(scene: Scene, colour: str) -> str:
    places = [item.position for item in scene.objects if item.colour == colour]
    return f"{colour} {' and '.join(places) or 'nowhere'}"


def test_questions_are_all_of_the_scene_in_an_order_of_their_own() -> None:
    first_kinds = set()
    for scene in scenes():
        pairs = scene_conversation(scene, "questions")
        expected = {(one.kind, one.question, one.answer) for one in scene_questions(scene)}
        assert set(pairs) == expected
        first_kinds.add(pairs[0][0])
    assert first_kinds == KINDS


def test_all_is_places_and_questions_among_each_other() -> None:
    first = set()
    for scene in scenes():
        pairs = scene_conversation(scene, "all")
        asked = [question for _, question, _ in pairs]
        parts = scene_conversation(scene, "places"), scene_conversation(scene, "questions")
        assert sorted(asked) == sorted(question for part in parts for _, question, _ in part)
        first.add(pairs[0][0])
    assert first == KINDS | {"description"}


def test_the_same_seed_gives_the_same_bytes_and_a_longer_run_begins_with_the_shorter() -> None:
    short = list(conversation_samples(3, seed=5, style="places"))
    assert short == list(conversation_samples(6, seed=5, style="places"))[:3]
    assert short != list(conversation_samples(3, seed=6, style="places"))


def test_no_scene_is_refused() -> None:
    with pytest.raises(ValueError, match="count is 0; expected at least 1"):
        conversation_samples(0, seed=1)


def test_the_command_writes_shards_that_the_loader_and_the_evaluation_read(tmp_path: Path) -> None:
    folder = tmp_path / "conversations"
    written = ["--scenes", "6", "--split", "test", "--conversations", "questions"]
    assert main(["data", "tiny-world", str(folder), *written]) == 0

    problems = Problems("")
    (source,) = conversation_sources(str(folder))
    assert len(source.index(problems)) == 6
    assert problems.count == 0

    questions = read_questions(folder)
    assert {question.kind for question in questions} <= KINDS
    samples = conversation_samples(6, seed=0, split="test", style="questions")
    turns = [json.loads(sample.extra["json"])["conversations"] for sample in samples]
    asked = [turn["value"] for scene in turns for turn in scene if turn["from"] == "human"]
    assert [question.prompt for question in questions] == asked
