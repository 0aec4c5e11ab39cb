"""Everything that decides a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from zoo.models.class_names import DEFAULT_TEMPLATES
from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.loading.views import Pixels
from zoo.training.fine_tuning.settings import FineTuning

TaskName = Literal[
    "contrastive",
    "reinforced",
    "sigmoid",
    "captioning",
    "gated",
    "prefix",
    "task-distillation",
    "feature-distillation",
    "classification-head",
    "classification",
]
REINFORCED_TASKS: tuple[TaskName, ...] = (
    "reinforced",
    "gated",
    "prefix",
    "task-distillation",
    "feature-distillation",
)
"""Tasks that learn from what sidecars store."""
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Parallel = Literal["ddp", "fsdp"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a training run. Raises ValueError for values that cannot work."""

    model: str
    """Name of the model to train, as `load_model` takes it; for the captioning task what open_clip
    calls a CoCa, or local-dir:FOLDER with an open_clip_config.json."""
    task: TaskName = "contrastive"
    """What is minimised: "contrastive" (plain CLIP), "sigmoid" (SigLIP), "captioning" (CoCa); on
    reinforced shards "reinforced" (MobileCLIP), "gated" (ALIP) or "prefix" (prefix conditioning);
    of a transfer "task-distillation", "feature-distillation" (both need them too) and
    "classification-head"; of labelled shards "classification" (by the names of the classes)."""
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
    """Samples a step, over all processes and all parts of an accumulated step."""
    accumulation: int = 1
    """Parts of a process's batch that go through the towers one after another, to save memory; the
    loss is that of the whole batch."""
    samples_seen: int
    """Budget of the run; the whole steps that fit into it are made."""
    learning_rate: float = 1e-3
    """Peak of the schedule, reached at the end of the warm-up."""
    min_learning_rate: float = 0.0
    """Where the cosine ends."""
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
    head: Path | None = None
    """Task distillation: the head on the teacher's features, whose outputs are learned;
    classification head: the head to begin with. Files of `zoo transfer`."""
    teacher: str | None = None
    """Feature distillation: which stored teacher to learn from; None where there is only one."""
    classes: Path | None = None
    """Classification: a file with the name of each label, one a line; None is classnames.txt in the
    folder of the shards."""
    templates: tuple[str, ...] = DEFAULT_TEMPLATES
    """Classification: sentences around a class name, {} in its place."""
    distillation_temperature: float = 1.0
    """Task distillation: what both sides' logits are divided by before the softmax."""
    pixels: Pixels = "exact"
    """How views are made: "exact" as the teacher saw them, or "fast" within a stated tolerance."""
    ema_decay: float | None = None
    """Decay of an exponential moving average of the weights, which is evaluated and written beside
    the weights; None keeps none."""
    precision: Precision = "auto"
    """Number format of the towers' arithmetic, while weights and losses stay float32: "auto" is
    bfloat16 where the device computes it faster, else float32; "float16" scales the loss."""
    activation_checkpointing: bool = False
    """Keep only each block's input and compute the rest again in the backward pass."""
    compile: bool = False
    """Let torch.compile fuse the towers' operations."""
    parallel: Parallel = "ddp"
    """How several processes share the model: "ddp" copies it, "fsdp" divides it (FSDP2)."""
    synchronize_batch_norm: bool = False
    """Take BatchNorm's statistics over all processes, as one process with their batch would."""
    deterministic: bool = False
    """Only deterministic kernels on CUDA, where the default trades exact repetition for speed."""
    channels_last: bool = False
    """Keep the image tower's weights in channels_last order, which is faster for convolutions."""
    seed: int = 0
    """Seed of the initial weights and of the order of the data."""
    workers: int = 0
    """Processes that prepare batches; 0 prepares them in the training process."""
    checkpoint_every: int = 500
    """Steps between two checkpoints; the evaluation callback runs at the same steps."""
    log_every: int = 10
    """Steps between two lines of metrics.jsonl."""
    wandb_project: str | None = None
    """Weights & Biases project that gets the figures too; None for none."""
    init: Literal["published"] | Path | None = None
    """Weights to start from: a file, "published" for the authors', or None for random ones drawn
    from the seed."""
    fine_tuning: FineTuning | None = None
    """Which parameters are trained, and how fast those far from the output; None trains all."""

    def __post_init__(self) -> None:
        _check_choice("task", self.task, get_args(TaskName))
        _check_choice("precision", self.precision, get_args(Precision))
        _check_choice("parallel", self.parallel, get_args(Parallel))
        for name in ("batch_size", "accumulation", "checkpoint_every", "log_every"):
            _check(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("weight_decay", "workers", "warmup_samples"):
            _check(name, getattr(self, name), getattr(self, name) >= 0, "0 or more")
        _check("learning_rate", self.learning_rate, _is_positive(self.learning_rate), "above 0")
        lowest, peak = self.min_learning_rate, self.learning_rate
        _check("min_learning_rate", lowest, 0 <= lowest <= peak, "between 0 and learning_rate")
        decay = self.ema_decay
        _check("ema_decay", decay, decay is None or 0 < decay < 1, "between 0 and 1, or None")
        parts = self.batch_size % self.accumulation == 0
        _check("accumulation", self.accumulation, parts, f"a divisor of {self.batch_size}")
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
        temperature = self.distillation_temperature
        _check("distillation_temperature", temperature, _is_positive(temperature), "above 0")
        needs_head = self.task in ("task-distillation", "classification-head")
        _check("head", self.head, (self.head is not None) == needs_head, _FILE_FOR_A_HEAD)
        names_teacher = self.teacher is None or self.task == "feature-distillation"
        _check("teacher", self.teacher, names_teacher, "left out of any but feature-distillation")
        self._check_data()

    def _check_data(self) -> None:
        """Raise for fields that the task would not heed, and for values that cannot be."""
        if self.task not in REINFORCED_TASKS:
            for name in ("sidecars", "published_set", "synthetic_ratio"):
                value = getattr(self, name)
                _check(name, value, value is None, f"left out of the {self.task} task")
        ratio = self.synthetic_ratio
        _check("synthetic_ratio", ratio, ratio is None or 0 <= ratio <= 1, "between 0 and 1")
        classifies = self.task == "classification" or self.classes is None
        _check("classes", self.classes, classifies, "left out of any but classification")
        if self.task == "captioning":
            _check("channels_last", self.channels_last, not self.channels_last, "False for a CoCa")
            _check("init", self.init, self.init != "published", "a file or None for a CoCa")
            whole = self.fine_tuning is None
            _check("fine_tuning", self.fine_tuning, whole, "None for a CoCa")
        if self.task in ("gated", "prefix"):
            both = f"None for the {self.task} task, which needs both captions"
            _check("synthetic_ratio", ratio, ratio is None, both)

    @property
    def steps(self) -> int:
        """Number of optimizer steps."""
        return self.samples_seen // self.batch_size

    @property
    def warmup_steps(self) -> int:
        """Number of steps with a rising learning rate."""
        return math.ceil(self.warmup_samples / self.batch_size)


_FILE_FOR_A_HEAD = "a file for task-distillation and classification-head, None for other tasks"


def _check(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise ValueError(f"Recipe field {name} is {value}, but it must be {allowed}.")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    _check(name, value, value in choices, f"one of {', '.join(choices)}")


def _is_positive(value: float) -> bool:
    return 0 < value < math.inf
