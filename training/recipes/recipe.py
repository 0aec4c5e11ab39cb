"""Everything that decides a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from zoo.models.class_names import DEFAULT_TEMPLATES
from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.loading.views import Pixels
from zoo.training.fine_tuning.settings import FineTuning
from zoo.training.recipes.checks import check_recipe
from zoo.training.recipes.choices import Parallel, Precision, TaskName
from zoo.training.sam_clip.settings import SamClip
from zoo.training.vision_language.settings import VisionLanguage


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
    "classification-head"; of labelled shards "classification" (by the names of the classes); of a
    vision-language model "visual-instruction" (answers about pictures); of a SAM-CLIP "sam-clip"
    (reinforced shards and shards with mask sidecars)."""
    data: str
    """Training shards: a folder, a glob, a brace pattern, one file or a URL. Visual instruction:
    a LLaVA file (.json, .jsonl), shards with conversations, or a mix (.json) of several."""
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
    """Feature distillation, SAM-CLIP: which stored teacher to learn from; None where there is only
    one."""
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
    vision_language: VisionLanguage | None = None
    """Visual instruction: what is trained, how fast and on what views; other tasks have none."""
    sam_clip: SamClip | None = None
    """SAM-CLIP: what is trained, from which masks and at which sizes; other tasks have none."""

    def __post_init__(self) -> None:
        check_recipe(self)  # pyright: ignore[reportArgumentType]  # the folder and its link

    @property
    def steps(self) -> int:
        """Number of optimizer steps."""
        return self.samples_seen // self.batch_size

    @property
    def warmup_steps(self) -> int:
        """Number of steps with a rising learning rate."""
        return math.ceil(self.warmup_samples / self.batch_size)
