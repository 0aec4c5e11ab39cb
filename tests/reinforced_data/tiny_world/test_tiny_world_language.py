"""Captions are true of their scenes, answers are right, and noise is what was asked for.

Run: .venv/bin/pytest tests/reinforced_data/tiny_world/test_tiny_world_language.py
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest

from zoo.reinforced_data.tiny_world import (
    CLASSIFICATION_TEMPLATES,
    COLOURS,
    SHAPES,
    Scene,
    SceneObject,
    Split,
    candidate_captions,
    colour_shape_pairs,
    make_scene,
    scene_captions,
    scene_questions,
)
from zoo.reinforced_data.tiny_world.questions import directions

SPLITS: tuple[Split, ...] = ("train", "test", "all")


def scenes(count: int = 400, split: Split = "all", seed: int = 0) -> list[Scene]:
    return [make_scene(index, seed=seed, split=split) for index in range(count)]


# A reader of captions that knows English words but not the grammar that wrote them.

MEANINGS = {
    "size": {
        "small": "small",
        "little": "small",
        "tiny": "small",
        "large": "large",
        "big": "large",
    },
    "texture": {
        "solid": "solid",
        "plain": "solid",
        "striped": "striped",
        "stripy": "striped",
        "with stripes": "striped",
        "dotted": "dotted",
        "spotted": "dotted",
        "with dots": "dotted",
        "checkered": "checkered",
        "chequered": "checkered",
        "with a checkered pattern": "checkered",
    },
    "colour": {colour: colour for colour in COLOURS},
    "shape": {shape: shape for shape in SHAPES}
    | {"disc": "circle", "hoop": "ring", "plus sign": "cross", "rhombus": "diamond"},
}
WORD_MEANING = {w: (kind, value) for kind, words in MEANINGS.items() for w, value in words.items()}
ADJECTIVE = "|".join(w for w, (kind, _) in WORD_MEANING.items() if kind != "shape" and " " not in w)
NOUN = "|".join([*MEANINGS["shape"], "shape"])
NOUN_PHRASE = re.compile(
    rf"\b(an?) ((?:(?:{ADJECTIVE}) )*)({NOUN})\b"
    r"( with (?:stripes|dots|a checkered pattern))?"
)
PLACE = re.compile(r"\b(?:at|in|on) the ((?:top |bottom )?(?:left|right)|top|bottom|centre|middle)")
RELATION = re.compile(r"N (?:is )?(?:to the )?(left of|right of|above|below|under) N")
COUNT = re.compile(r"^(one|two|three) shapes?\b")
GLUE = re.compile(
    r"^(a picture of|an image of|a photo of|a drawing of|there (is|are)|one of them|corner|side|"
    r"there is|and|,|N|PLACE|COUNT|RELATION|\.|\s)*$"
)
HOLDS: dict[str, Callable[[SceneObject, SceneObject], bool]] = {
    "left of": lambda a, b: a.centre[0] < b.centre[0],
    "right of": lambda a, b: a.centre[0] > b.centre[0],
    "above": lambda a, b: a.centre[1] < b.centre[1],
    "below": lambda a, b: a.centre[1] > b.centre[1],
    "under": lambda a, b: a.centre[1] > b.centre[1],
}


def attributes(match: re.Match[str]) -> dict[str, str]:
    article, adjectives, noun, trailing = match.groups(default="")
    words = [*adjectives.split(), *([trailing.strip()] if trailing else [])]
    first = (adjectives or noun)[0]
    assert (article == "an") == (first in "aeiou"), match[0]
    return dict(WORD_MEANING[word] for word in [*words, noun] if word != "shape")


def is_true(caption: str, scene: Scene) -> bool:
    """Whether `caption` holds of `scene`; fails for one that says anything else."""
    wanted = [attributes(match) for match in NOUN_PHRASE.finditer(caption)]
    assert wanted, caption
    rest = NOUN_PHRASE.sub("N", caption)
    relation, place, count = RELATION.search(rest), PLACE.search(rest), COUNT.search(rest)
    shape = COUNT.sub("COUNT", PLACE.sub("PLACE", RELATION.sub("RELATION", rest)))
    assert GLUE.match(shape), f"{caption} -> {shape}"
    if count and ("one", "two", "three").index(count[1]) + 1 != len(scene.objects):
        return False

    def fits(objects: tuple[SceneObject, ...]) -> bool:
        described = all(
            getattr(item, kind) == value
            for item, words in zip(objects, wanted, strict=True)
            for kind, value in words.items()
        )
        placed = not place or objects[0].position == place[1].replace("middle", "centre")
        return described and placed and (not relation or HOLDS[relation[1]](*objects))

    return any(fits(objects) for objects in permutations(scene.objects, len(wanted)))


# Captions


@pytest.mark.parametrize("split", SPLITS)
def test_every_caption_is_true_of_its_scene(split: Split) -> None:
    for scene in scenes(split=split):
        for caption in scene_captions(scene, 7):
            assert is_true(caption, scene), (caption, scene)


def test_captions_tell_scenes_apart() -> None:
    pairs = zip(scenes(400), scenes(400, seed=1), strict=True)
    wrong = [not is_true(scene_captions(scene, 1)[0], other) for scene, other in pairs]
    assert np.mean(wrong) > 0.9


def test_wordings_vary() -> None:
    captions = [scene_captions(scene, 3) for scene in scenes()]
    assert len({caption for group in captions for caption in group}) > 0.85 * 3 * len(captions)
    assert np.mean([len(set(group)) for group in captions]) > 2.9


def test_caption_noise_is_the_share_of_bad_captions() -> None:
    clean, noisy, alt_texts = 0, 0, 0
    for scene in scenes(1000):
        (before,) = scene_captions(scene, 1)
        (after,) = scene_captions(scene, 1, caption_noise=0.4)
        clean += before == after
        alt_texts += not NOUN_PHRASE.search(after)
        noisy += before != after
    assert 0.35 < noisy / 1000 < 0.45
    assert 0.4 < alt_texts / noisy < 0.6


def test_a_wrong_caption_of_a_training_scene_names_no_held_out_pair() -> None:
    for scene in scenes(300, "train"):
        for caption in scene_captions(scene, 3, caption_noise=1.0):
            named = [attributes(match) for match in NOUN_PHRASE.finditer(caption)]
            pairs = {(words.get("colour"), words.get("shape")) for words in named}
            assert not pairs & set(colour_shape_pairs("test")), caption


def test_candidate_captions_are_distinct_and_name_only_their_split() -> None:
    candidates = candidate_captions()
    assert len(set(candidates)) == len(candidates)
    named = {
        (words["colour"], words["shape"])
        for caption in candidates
        for words in map(attributes, NOUN_PHRASE.finditer(caption))
    }
    assert named == set(colour_shape_pairs("train"))
    assert set(candidates) < set(candidate_captions("all"))


def test_some_candidate_is_true_of_every_training_scene() -> None:
    doubles = [caption for caption in candidate_captions() if " and " in caption]
    placed = [caption for caption in candidate_captions() if PLACE.search(caption)]
    for scene in scenes(20, "train"):
        assert sum(is_true(caption, scene) for caption in placed) == len(scene.objects)
        count = len(scene.objects)
        assert sum(is_true(caption, scene) for caption in doubles) == count * (count - 1) / 2


def test_templates_take_a_class_name() -> None:
    prompts = {template.format("red circle") for template in CLASSIFICATION_TEMPLATES}
    assert len(prompts) == len(CLASSIFICATION_TEMPLATES)
    assert all("red circle" in prompt for prompt in prompts)


# Questions


def answer(question: str, scene: Scene) -> str:
    """Answer from the scene's description alone."""
    words = question.rstrip("?").split()
    if question.startswith("what colour"):
        (item,) = (one for one in scene.objects if set(words[4:]) <= {one.size, one.shape})
        return item.colour
    if question.startswith("how many"):
        thing = words[2].removesuffix("es") if words[2] == "crosses" else words[2].removesuffix("s")
        return str(sum(thing in ("shape", one.shape, one.colour) for one in scene.objects))
    if question.startswith("is there"):
        return "yes" if " ".join(words[3:]) in {one.class_name for one in scene.objects} else "no"
    if question.startswith("where is"):
        places = [one.position for one in scene.objects if one.colour == words[3]]
        assert len(places) < 2, "the colour names one object"
        return places[0] if places else "nowhere"
    found = re.fullmatch(r"which way is the (\w+) shape from the (\w+) shape\?", question)
    assert found, question
    by_colour = {item.colour: item.centre for item in scene.objects}
    (x, y), (other_x, other_y) = by_colour[found[1]], by_colour[found[2]]
    # Cells are 0.29 apart, and within one the centres of two objects differ by less than half that.
    sides = {"above": other_y - y, "below": y - other_y, "left": other_x - x, "right": x - other_x}
    return " ".join(side for side, distance in sides.items() if distance > 0.145)


@pytest.mark.parametrize("split", SPLITS)
def test_every_answer_is_right(split: Split) -> None:
    for scene in scenes(split=split):
        for one in scene_questions(scene):
            assert one.answer == answer(one.question, scene), (one, scene)


def test_scenes_get_every_kind_of_question_that_they_have_an_answer_to() -> None:
    for scene in scenes():
        kinds = {one.kind for one in scene_questions(scene)}
        colours = [item.colour for item in scene.objects]
        lone = sum(colours.count(colour) == 1 for colour in colours)
        assert kinds == {"colour", "count", "existence", "place"} | (
            {"relation"} if lone > 1 else set()
        )


def test_a_colour_of_two_shapes_names_neither() -> None:
    shared = [
        (scene, {item.colour for item in scene.objects})
        for scene in scenes()
        if len({item.colour for item in scene.objects}) < len(scene.objects) == 2
    ]
    assert shared
    for scene, (colour,) in shared:
        asked = scene_questions(scene)
        about = [one.question for one in asked if one.kind in ("place", "relation")]
        assert not any(colour in question for question in about)
        assert directions(scene) == ()


def test_no_answer_is_much_likelier_than_the_others() -> None:
    questions = [one for scene in scenes() for one in scene_questions(scene)]
    yes = [one.answer == "yes" for one in questions if one.kind == "existence"]
    assert 0.45 < np.mean(yes) < 0.55
    for kind, most in (("place", 0.6), ("relation", 0.2)):
        answers = Counter(one.answer for one in questions if one.kind == kind)
        assert max(answers.values()) < most * answers.total()
