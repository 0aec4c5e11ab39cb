"""What a recipe's values must be, so that a wrong one ends before anything is loaded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, get_args

from zoo.reinforced_data.loading.views import Pixels
from zoo.training.recipes.choices import REINFORCED_TASKS, Parallel, Precision, TaskName

if TYPE_CHECKING:
    from zoo.training.recipes.recipe import Recipe

_HEAD_TASKS: tuple[TaskName, ...] = ("task-distillation", "classification-head")
_BOTH_CAPTIONS_TASKS: tuple[TaskName, ...] = ("gated", "prefix")


def check_recipe(recipe: Recipe) -> None:
    """Raise ValueError that names the first field whose value cannot work, and what can."""
    _check_choices(recipe)
    _check_sizes(recipe)
    _check_rates(recipe)
    _check_task(recipe)


def _check_choices(recipe: Recipe) -> None:
    for name, choices in (
        ("task", TaskName),
        ("precision", Precision),
        ("parallel", Parallel),
        ("pixels", Pixels),
    ):
        value = getattr(recipe, name)
        _check(name, value, value in get_args(choices), f"one of {', '.join(get_args(choices))}")


def _check_sizes(recipe: Recipe) -> None:
    for name in ("batch_size", "accumulation", "checkpoint_every", "log_every"):
        _check(name, getattr(recipe, name), getattr(recipe, name) >= 1, "at least 1")
    for name in ("weight_decay", "workers", "warmup_samples"):
        _check(name, getattr(recipe, name), getattr(recipe, name) >= 0, "0 or more")
    size, samples = recipe.batch_size, recipe.samples_seen
    parts = size % recipe.accumulation == 0
    _check("accumulation", recipe.accumulation, parts, f"a divisor of {size}")
    _check("samples_seen", samples, samples >= size, f"a batch ({size}) or more")
    longest = (recipe.steps - 1) * size
    fits = recipe.warmup_samples <= longest
    _check("warmup_samples", recipe.warmup_samples, fits, f"at most {longest} in so short a run")


def _check_rates(recipe: Recipe) -> None:
    for name in ("learning_rate", "distillation_temperature"):
        _check(name, getattr(recipe, name), _is_positive(getattr(recipe, name)), "above 0")
    lowest, peak = recipe.min_learning_rate, recipe.learning_rate
    _check("min_learning_rate", lowest, 0 <= lowest <= peak, "between 0 and learning_rate")
    decay = recipe.ema_decay
    _check("ema_decay", decay, decay is None or 0 < decay < 1, "between 0 and 1, or None")
    between = all(0 <= beta < 1 for beta in recipe.betas)
    _check("betas", recipe.betas, between, "two numbers in [0, 1)")
    clips = recipe.clip_norm is None or _is_positive(recipe.clip_norm)
    _check("clip_norm", recipe.clip_norm, clips, "above 0, or None")
    weight = recipe.distillation_weight
    _check("distillation_weight", weight, 0 <= weight <= 1, "between 0 and 1")
    ratio = recipe.synthetic_ratio
    _check("synthetic_ratio", ratio, ratio is None or 0 <= ratio <= 1, "between 0 and 1")


def _check_task(recipe: Recipe) -> None:
    """Raise for fields that the task would not heed, and for what it lacks."""
    task = recipe.task
    if task not in REINFORCED_TASKS:
        _check_left_out(recipe, "sidecars", "published_set", "synthetic_ratio")
    if task in _BOTH_CAPTIONS_TASKS:
        _check_left_out(recipe, "synthetic_ratio")
    if task not in ("feature-distillation", "sam-clip"):
        _check_left_out(recipe, "teacher")
    if task != "classification":
        _check_left_out(recipe, "classes")
    if task not in _HEAD_TASKS:
        _check_left_out(recipe, "head")
    else:
        _check("head", recipe.head, recipe.head is not None, f"a file for the {task} task")
    if task == "visual-instruction":
        _check_left_out(recipe, "fine_tuning", "subset")
        given = recipe.vision_language is not None
        _check("vision_language", None, given, f"given for the {task} task")
        _check_beginning(recipe)
        together = recipe.synchronize_batch_norm  # it wants as many views in every process
        _check("synchronize_batch_norm", together, not together, f"False for the {task} task")
    else:
        _check_left_out(recipe, "vision_language")
    if task == "sam-clip":
        _check_sam_clip(recipe)
    else:
        _check_left_out(recipe, "sam_clip")
    if task == "captioning":
        _check_left_out(recipe, "fine_tuning")
        _check("channels_last", recipe.channels_last, not recipe.channels_last, "False for a CoCa")
        _check("init", recipe.init, recipe.init != "published", "a file or None for a CoCa")


def _check_beginning(recipe: Recipe) -> None:
    """Raise where a model is to begin with weights and with parts from elsewhere at once."""
    settings = recipe.vision_language
    parts = settings and (settings.language_model or settings.image_encoder or settings.multi_scale)
    allowed = "None beside a language_model, image_encoder or multi_scale to begin with"
    _check("init", recipe.init, not parts or recipe.init is None, allowed)


def _check_sam_clip(recipe: Recipe) -> None:
    _check_left_out(recipe, "fine_tuning", "synthetic_ratio")
    channels_last = recipe.channels_last  # a transformer has no convolution that would gain by it
    _check("channels_last", channels_last, not channels_last, "False for the sam-clip task")
    settings = recipe.sam_clip
    _check("sam_clip", None, settings is not None, "given for the sam-clip task")
    assert settings is not None
    parts = settings.sam or settings.text
    allowed = "None beside a sam or text to begin with"
    _check("init", recipe.init, not parts or recipe.init is None, allowed)
    if not settings.reads_embeddings:
        _check_left_out(recipe, "teacher", "subset", "sidecars", "published_set")
    elif settings.reads_masks:
        size = settings.mask_batch_size
        _check(
            "accumulation",
            recipe.accumulation,
            size % recipe.accumulation == 0,
            f"a divisor of sam_clip.mask_batch_size, {size}",
        )


def _check_left_out(recipe: Recipe, *names: str) -> None:
    for name in names:
        value = getattr(recipe, name)
        _check(name, value, value is None, f"left out of the {recipe.task} task")


def _check(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise ValueError(f"Recipe field {name} is {value}, but it must be {allowed}.")


def _is_positive(value: float) -> bool:
    return 0 < value < math.inf
