"""Conversations about scenes are right, and loader and evaluation read them.

Run: .venv/bin/pytest tests/reinforced_data/tiny_world/test_tiny_world_conversations.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo.cli import main
from zoo.eval.vision_language.conversation_files import read_questions
from zoo.reinforced_data.conversations.problems import Problems
from zoo.reinforced_data.conversations.sources import conversation_sources
from zoo.reinforced_data.tiny_world import (
    Scene,
    conversation_samples,
    make_scene,
    scene_questions,
)
from zoo.reinforced_data.tiny_world.conversations import scene_conversation

KINDS = {"colour", "count", "existence", "relation"}


def scenes(count: int = 200) -> list[Scene]:
    return [make_scene(index, seed=3, split="train") for index in range(count)]


def test_a_description_tells_all_of_every_object_in_reading_order() -> None:
    for scene in scenes():
        ((kind, question, answer),) = scene_conversation(scene, "description")
        in_order = sorted(scene.objects, key=lambda item: 3 * item.row + item.column)
        expected = [f"{o.position}: {o.size} {o.shape}, {o.texture} {o.colour}" for o in in_order]
        assert answer.split("; ") == expected
        assert (kind, question) == ("description", "describe the picture.")


def test_questions_are_all_of_the_scene_in_an_order_of_their_own() -> None:
    first_kinds = set()
    for scene in scenes():
        pairs = scene_conversation(scene, "questions")
        expected = {(one.kind, one.question, one.answer) for one in scene_questions(scene)}
        assert set(pairs) == expected
        first_kinds.add(pairs[0][0])
    assert first_kinds == KINDS


def test_a_mixed_conversation_describes_only_after_its_questions() -> None:
    for scene in scenes(50):
        *questions, last = scene_conversation(scene, "mixed")
        assert [kind in KINDS for kind, _, _ in questions] == [True] * 3
        assert last[0] == "description"


def test_the_same_seed_gives_the_same_bytes_and_a_longer_run_begins_with_the_shorter() -> None:
    short = list(conversation_samples(3, seed=5, style="mixed"))
    assert short == list(conversation_samples(6, seed=5, style="mixed"))[:3]
    assert short != list(conversation_samples(3, seed=6, style="mixed"))


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
