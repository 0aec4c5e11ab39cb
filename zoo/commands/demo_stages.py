"""The stages of the demo on the tiny world, each a zoo command."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from zoo.commands.console import heading, say
from zoo.commands.evaluate import evaluate
from zoo.commands.reinforce import reinforce
from zoo.commands.tiny_world import tiny_world
from zoo.commands.train import TrainOptions, run_training
from zoo.models.class_names import CLASS_NAMES_FILE
from zoo.reinforced_data.tiny_world import CLASSIFICATION_TEMPLATES, candidate_captions
from zoo.training.recipes.registry import get_recipe

MODEL = "mobileclip-tiny"
TEACHER_SCENES = 12_000
STUDENT_SCENES = 4_000
TEST_SCENES = 1_000
CAPTION_NOISE = 0.5
"""Share of the students' captions that say nothing or something wrong, as on the web."""
STORED_AUGMENTATIONS = 8
SYNTHETIC_CAPTIONS = 4

Student = Literal["plain", "reinforced"]
STUDENTS: tuple[Student, ...] = get_args(Student)


@dataclass(frozen=True)
class DemoFolder:
    """Where the stages of the demo put things."""

    root: Path

    @property
    def teacher_data(self) -> Path:
        """Shards of the teacher."""
        return self.root / "data" / "teacher"

    @property
    def student_data(self) -> Path:
        """Shards of the students, with their sidecars."""
        return self.root / "data" / "student"

    @property
    def test_data(self) -> Path:
        """Shards of held-out combinations."""
        return self.root / "data" / "test"

    def conversations(self, name: str) -> Path:
        """Shards with conversations about scenes."""
        return self.root / "data" / name

    @property
    def results(self) -> Path:
        """JSON lines of every evaluation, export and timing."""
        return self.root / "results.jsonl"

    def run(self, name: str) -> Path:
        """Folder of a training run."""
        return self.root / "runs" / name

    def weights(self, run: str) -> Path:
        """Weights that a finished training run leaves."""
        return self.run(run) / "weights.safetensors"


def write_data(paths: DemoFolder) -> None:
    """Shards for the teacher, for the students and for testing.

    The teacher's scenes show every combination of colour and shape, as a large teacher has seen
    most things; the students' are fewer, lack the combinations tested, and have captions as
    unreliable as the web's.
    """
    heading("writing the tiny world")
    world = partial(tiny_world, max_objects=1)
    write_once(paths.teacher_data, partial(world, scenes=TEACHER_SCENES, seed=1, split="all"))
    students = partial(world, captions_per_scene=1, caption_noise=CAPTION_NOISE)
    write_once(paths.student_data, partial(students, scenes=STUDENT_SCENES, seed=2))
    write_once(paths.test_data, partial(world, scenes=TEST_SCENES, seed=3, split="test"))


def train_teacher(paths: DemoFolder) -> None:
    """The teacher learns from clean captions and sees more samples than a student."""
    heading("training the teacher")
    recipe = replace(get_recipe("tiny-teacher"), data=str(paths.teacher_data))
    train_once(TrainOptions(recipe=replace(recipe, output=paths.run("teacher"))))


def reinforce_student_data(paths: DemoFolder) -> None:
    """Store what the teacher knows of the students' shards beside them."""
    heading("reinforcing the students' shards")
    candidates = paths.root / "candidates.txt"
    candidates.write_text("\n".join(candidate_captions("train")) + "\n", encoding="utf-8")
    reinforce(
        str(paths.student_data),
        teacher=(f"teacher=zoo:{MODEL}@{paths.weights('teacher')}",),
        candidates=candidates,
        captions=SYNTHETIC_CAPTIONS,
        augmentations=STORED_AUGMENTATIONS,
        policy=get_recipe("tiny-plain").augmentation,
    )


def train_student(paths: DemoFolder, student: Student, seed: int = 0) -> str:
    """Train a student and return its run's name.

    Both kinds see the same number of samples of the same shards, in the same order, from the same
    initial weights.
    """
    run = f"{student}-{seed}" if seed else student
    heading(f"training the {student} student, seed {seed}")
    recipe = replace(get_recipe(f"tiny-{student}"), data=str(paths.student_data), seed=seed)
    train_once(TrainOptions(recipe=replace(recipe, output=paths.run(run))))
    return run


def evaluate_run(paths: DemoFolder, run: str, results: Path) -> None:
    """Zero-shot on combinations of colour and shape that no run was trained on."""
    heading(f"evaluating {run}")
    evaluate(
        paths.test_data,
        model=MODEL,
        name=run,
        weights=str(paths.weights(run)),
        class_names=paths.test_data / CLASS_NAMES_FILE,
        template=CLASSIFICATION_TEMPLATES,
        results=results,
    )


def train_once(options: TrainOptions) -> None:
    """Train unless the run is finished; go on where an earlier attempt was stopped."""
    output = options.recipe.output
    if (output / "weights.safetensors").exists():
        say(f"{output} is finished; kept")
        return
    run_training(replace(options, resume=True))


def write_once(folder: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a folder that appears when it is whole; keep one that is there."""
    if folder.exists():
        say(f"{folder} is finished; kept")
        return
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    write(temporary)
    temporary.rename(folder)
