"""Recipes refuse values that cannot work, derive the rest, and are found by name.

Run: pytest tests/training/recipes/test_recipes.py
"""

from __future__ import annotations

import itertools
import math
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
from toy_batches import toy_recipe

from zoo.models.registry import get_card
from zoo.training.recipes.registry import RECIPES, get_recipe


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", "reinforce"),
        ("precision", "float8"),
        ("batch_size", 0),
        ("samples_seen", 7),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("warmup_samples", -1),
        ("warmup_samples", 96),
        ("weight_decay", -0.1),
        ("betas", (0.9, 1.0)),
        ("clip_norm", 0.0),
        ("distillation_weight", 1.5),
        ("workers", -1),
        ("checkpoint_every", 0),
        ("log_every", 0),
        ("pixels", "sharp"),
        ("synthetic_ratio", 0.5),  # of the contrastive task, which has none
        ("sidecars", "folder"),
        ("published_set", "dfndr"),
    ],
)
def test_a_bad_value_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        toy_recipe(Path("run"), **{field: value})


def test_a_ratio_of_synthetic_captions_is_a_probability() -> None:
    with pytest.raises(
        ValueError, match=r"synthetic_ratio is 1\.5, but it must be between 0 and 1"
    ):
        toy_recipe(Path("run"), task="reinforced", synthetic_ratio=1.5)


def test_steps_never_exceed_the_budget_and_warm_up_is_covered() -> None:
    recipe = toy_recipe(Path("run"), batch_size=10, samples_seen=99, warmup_samples=11)
    assert (recipe.steps, recipe.warmup_steps) == (9, 2)


def test_a_recipe_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        toy_recipe(Path("run")).seed = 1  # type: ignore[misc]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_builds_and_documents_itself(name: str) -> None:
    recipe = get_recipe(name)
    if recipe.task != "captioning":  # open_clip knows that model
        assert get_card(recipe.model).name == recipe.model
    assert recipe.output.name == name
    documentation = RECIPES[name].__doc__ or ""
    for heading in ("Reproduces:", f"Command: zoo train {name}", "Cost:", "Expect:"):
        assert heading in documentation


def test_plain_and_reinforced_students_differ_in_the_task_alone() -> None:
    plain, reinforced = get_recipe("tiny-plain"), get_recipe("tiny-reinforced")
    assert (plain.task, reinforced.task) == ("contrastive", "reinforced")
    assert replace(reinforced, task=plain.task, output=plain.output) == plain


def test_the_stages_of_fastvlm_follow_each_other() -> None:
    stages = [get_recipe(f"fastvlm-stage{stage}") for stage in ("1", "1.5", "2", "3")]
    assert stages[0].init is None
    for before, after in itertools.pairwise(stages):
        assert after.init == before.output / "weights.safetensors"
    for stage in stages:
        assert stage.warmup_samples == round(0.03 * stage.samples_seen)
    trained = [stage.vision_language.train for stage in stages if stage.vision_language]
    assert trained == ["projector", "all", "all", "all"]


def test_an_unknown_recipe_gets_a_suggestion() -> None:
    with pytest.raises(ValueError, match=r"'Tiny_Plane'; did you mean tiny-plain"):
        get_recipe("Tiny_Plane")
    with pytest.raises(ValueError, match=r"there are tiny-teacher, .*flickr1k"):
        get_recipe("xyz")
