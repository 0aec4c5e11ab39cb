"""Recipes: a training run is a function that returns its whole configuration.

A variant calls another recipe and changes a few fields. `zoo train RECIPE --field value` changes
any field from the command line.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.loading.views import Pixels

TaskName = Literal["contrastive", "reinforced"]
Precision = Literal["float32"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a training run. Raises ValueError for values that cannot work."""

    model: str
    """Name of the model to train, as `load_model` takes it."""
    task: TaskName = "contrastive"
    """What is minimised: "contrastive" (plain CLIP) or "reinforced" (needs reinforced shards)."""
    data: str
    """Training shards: a folder, a glob, a brace pattern, one file or a URL."""
    subset: Path | None = None
    """Which samples of the shards to use and how often, as `zoo data filter` and the like write it;
    None uses all, once a pass."""
    sidecars: str | None = None
    """Folder or URL of the reinforced task's sidecars; None looks beside the shards."""
    published_set: str | None = None
    """Reinforced task: read Apple's own members in the shards instead of sidecars; "datacompdr",
    "dfndr", or a JSON file that lists the teachers."""
    cache_folder: Path = Path("cache")
    """Where shards and sidecars at URLs are copied to."""
    output: Path
    """Run folder: checkpoints, metrics.jsonl, weights.safetensors."""
    batch_size: int = 256
    """Samples a step."""
    samples_seen: int
    """Budget of the run; the whole steps that fit into it are made."""
    learning_rate: float = 1e-3
    """Peak of the schedule, reached at the end of the warm-up."""
    warmup_samples: int = 0
    """Samples over which the learning rate rises linearly."""
    weight_decay: float = 0.2
    """AdamW's decoupled weight decay; biases, norms, scales and positions are exempt."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's decay rates of the first and the second moment."""
    augmentation: AugmentationPolicy = field(default_factory=AugmentationPolicy)
    """What plain training draws its augmentations from; reinforced ones are stored already."""
    clip_norm: float | None = 1.0
    """Largest norm of the whole gradient; None never clips."""
    distillation_weight: float = 1.0
    """λ of the reinforced task: 0 learns from captions alone, 1 from teachers alone."""
    synthetic_ratio: float | None = None
    """Reinforced task: None learns from both captions of a picture, a number from one of them, the
    synthetic one with this probability."""
    pixels: Pixels = "exact"
    """How views are made: "exact" as the teacher saw them, or "fast" within a stated tolerance."""
    precision: Precision = "float32"
    """Number format of the towers."""
    channels_last: bool = False
    """Keep the image tower's weights in channels_last order, which is faster; not for stems with
    a scale branch on the CPU."""
    seed: int = 0
    """Seed of the initial weights and of the order of the data."""
    workers: int = 0
    """Processes that prepare batches; 0 prepares them in the training process."""
    checkpoint_every: int = 500
    """Steps between two checkpoints; the evaluation callback runs at the same steps."""
    log_every: int = 10
    """Steps between two lines of metrics.jsonl."""
    init: Path | None = None
    """Weights to start from; None draws random ones from the seed."""

    def __post_init__(self) -> None:
        _check_choice("task", self.task, get_args(TaskName))
        _check_choice("precision", self.precision, get_args(Precision))
        for name in ("batch_size", "checkpoint_every", "log_every"):
            _check(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("weight_decay", "workers", "warmup_samples"):
            _check(name, getattr(self, name), getattr(self, name) >= 0, "0 or more")
        _check("learning_rate", self.learning_rate, _is_positive(self.learning_rate), "above 0")
        enough = self.samples_seen >= self.batch_size
        _check("samples_seen", self.samples_seen, enough, f"a batch ({self.batch_size}) or more")
        longest = (self.steps - 1) * self.batch_size
        fits = self.warmup_samples <= longest
        _check("warmup_samples", self.warmup_samples, fits, f"at most {longest} in so short a run")
        between = all(0 <= beta < 1 for beta in self.betas)
        _check("betas", self.betas, between, "two numbers in [0, 1)")
        clips = self.clip_norm is None or _is_positive(self.clip_norm)
        _check("clip_norm", self.clip_norm, clips, "above 0, or None")
        weight = self.distillation_weight
        _check("distillation_weight", weight, 0 <= weight <= 1, "between 0 and 1")
        _check_choice("pixels", self.pixels, get_args(Pixels))
        self._check_data()

    def _check_data(self) -> None:
        """Raise for fields that the task would not heed, and for values that cannot be."""
        if self.task == "contrastive":
            for name in ("sidecars", "published_set", "synthetic_ratio"):
                value = getattr(self, name)
                _check(name, value, value is None, "left out of the contrastive task")
        ratio = self.synthetic_ratio
        _check("synthetic_ratio", ratio, ratio is None or 0 <= ratio <= 1, "between 0 and 1")

    @property
    def steps(self) -> int:
        """Number of optimizer steps."""
        return self.samples_seen // self.batch_size

    @property
    def warmup_steps(self) -> int:
        """Number of steps with a rising learning rate."""
        return math.ceil(self.warmup_samples / self.batch_size)


# Stronger crops would cut the objects that a caption names, and colour operations its colours.
_TINY_WORLD_AUGMENTATION = AugmentationPolicy(scale=(0.8, 1.0), num_ops=0)


def tiny_teacher() -> Recipe:
    """A teacher for the tiny world: mobileclip-tiny on captions, with more samples than a student.

    Reproduces: nothing published; it is the teacher of `make demo`.
    Command: zoo train tiny-teacher (after `zoo demo` has written its data)
    Cost: 400 steps of 128 samples, about 2 minutes on two cores.
    Expect: 50 % top-1 of 64 classes on the demo's test scenes (one run, BENCHMARKS.md).
    """
    return Recipe(
        model="mobileclip-tiny",
        data="demo/data/teacher",
        output=Path("runs/tiny-teacher"),
        batch_size=128,
        samples_seen=51_200,
        learning_rate=2e-3,
        augmentation=_TINY_WORLD_AUGMENTATION,
        channels_last=True,
        warmup_samples=2_560,
        checkpoint_every=100,
    )


def tiny_plain() -> Recipe:
    """A student that sees the tiny world's pictures and captions only; the control run.

    Reproduces: plain CLIP training (arXiv 2103.00020), small.
    Command: zoo train tiny-plain (after `zoo demo` has written its data)
    Cost: 128 steps of 128 samples, about 40 seconds on two cores.
    Expect: 6 to 7 % top-1 of 64 classes on the demo's test scenes (3 seeds, BENCHMARKS.md).
    """
    return replace(
        tiny_teacher(),
        data="demo/data/student",
        output=Path("runs/tiny-plain"),
        samples_seen=16_384,
    )


def tiny_reinforced() -> Recipe:
    """The same student and the same samples seen, learning from what the sidecars store.

    Reproduces: multi-modal reinforced training (arXiv 2311.17049, section 4), small.
    Command: zoo train tiny-reinforced (after `zoo demo` has written and reinforced its data)
    Cost: 128 steps of 128 samples, about 50 seconds on two cores.
    Expect: 15 to 25 % top-1 of 64 classes on the same scenes (3 seeds, BENCHMARKS.md).
    """
    return replace(tiny_plain(), task="reinforced", output=Path("runs/tiny-reinforced"))


def flickr1k() -> Recipe:
    """mobileclip-tiny on some hundred real photographs; the shortest run on real data.

    Reproduces: nothing published; too few photographs to generalise, enough to see it learn.
    Command: zoo train flickr1k --data SHARDS (after `zoo reinforce SHARDS …`);
        plain: add --task contrastive
    Cost: 160 steps of 128 samples, about 70 seconds on two cores.
    Expect: a falling loss; nothing is claimed of held-out photographs.
    """
    return replace(
        tiny_reinforced(),
        data="flickr1k/train",
        output=Path("runs/flickr1k"),
        augmentation=AugmentationPolicy(),
        samples_seen=20_480,
    )


RECIPES: dict[str, Callable[[], Recipe]] = {
    "tiny-teacher": tiny_teacher,
    "tiny-plain": tiny_plain,
    "tiny-reinforced": tiny_reinforced,
    "flickr1k": flickr1k,
}


def get_recipe(name: str) -> Recipe:
    """Return the recipe called `name`. Raises ValueError with the closest names otherwise."""
    if name in RECIPES:
        return RECIPES[name]()
    close = difflib.get_close_matches(name.lower().replace("_", "-"), RECIPES, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(RECIPES)}."
    raise ValueError(f"Unknown recipe '{name}'; {hint}")


def _check(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise ValueError(f"Recipe field {name} is {value}, but it must be {allowed}.")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    _check(name, value, value in choices, f"one of {', '.join(choices)}")


def _is_positive(value: float) -> bool:
    return 0 < value < math.inf
