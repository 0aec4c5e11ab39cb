"""`zoo bench efficiency`: how many samples reinforced training saves on real pictures."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from zoo.commands.bench import RESULTS
from zoo.commands.console import heading, say, show_table
from zoo.commands.demo_stages import train_once, write_once
from zoo.commands.reinforce import reinforce
from zoo.commands.train import TrainOptions
from zoo.eval.plots import Curve
from zoo.eval.results import append_result, result_record
from zoo.eval.run_curves import EVALUATION, samples_to_reach
from zoo.eval.training_run import read_runs
from zoo.models.class_names import CLASS_NAMES_FILE, class_prompts, read_class_names
from zoo.training.benchmarks.web_captions import write_web_like_shards
from zoo.training.recipes.recipe import Recipe
from zoo.training.recipes.registry import get_recipe
from zoo.training.recipes.small import CIFAR10_TEMPLATES

Kind = Literal["plain", "reinforced"]
KINDS: tuple[Kind, ...] = get_args(Kind)
CAPTION_NOISE = 0.8
"""Share of the students' captions that say nothing or something drawn at random: of a raw web pool,
DFN keeps 15 to 20 % (arXiv 2309.17425)."""
STORED_AUGMENTATIONS = 20
SYNTHETIC_CAPTIONS = 2
TUNING_SEED = 0


@dataclass(frozen=True)
class EfficiencyRow:
    """One seed's runs."""

    seed: int
    plain_accuracy: float
    """At the end of the longest plain run, 0…1."""
    reinforced_accuracy: float
    """At the end of the longest reinforced run."""
    plain_samples: float
    """Of the longest plain run."""
    plain_first_samples: float
    """Of the shortest plain run with that accuracy, read between two runs."""
    reinforced_samples: float | None
    """Of the shortest reinforced run with it; None where none has it."""

    @property
    def ratio(self) -> float:
        """Samples of the longest plain run to those of reinforced training with its accuracy; 0
        where that never got there."""
        reached = self.reinforced_samples
        return 0.0 if reached is None else self.plain_samples / reached

    @property
    def ratio_to_first(self) -> float:
        """The same for the shortest plain run that is as good: lower where plain training has
        stopped gaining before its end."""
        reached = self.reinforced_samples
        return 0.0 if reached is None else self.plain_first_samples / reached


def compare_runs(seed: int, plain: Curve, reinforced: Curve) -> EfficiencyRow:
    """Compare two kinds of runs; their points are (samples of a whole run, its final accuracy).

    Where the shortest reinforced run is good enough already, the ratio is a lower bound.
    """
    samples, final = plain[-1]
    first = samples_to_reach(plain, final)
    assert first is not None
    return EfficiencyRow(
        seed=seed,
        plain_accuracy=final,
        reinforced_accuracy=reinforced[-1][1],
        plain_samples=samples,
        plain_first_samples=first,
        reinforced_samples=samples_to_reach(reinforced, final),
    )


@dataclass(frozen=True)
class Budget:
    """How long everything is trained."""

    teacher_samples: int
    plain_samples: tuple[int, ...]
    """Of each plain run, ascending."""
    reinforced_samples: tuple[int, ...]
    pictures: int
    """That the students have; the teacher has all."""
    seeds: int
    learning_rates: tuple[float, ...]
    """Tried for each kind with the first seed and TUNED_RUN; the best is taken for all."""


TUNED_RUN = -1
"""Of a kind's runs, the one that the learning rate is chosen with: the longest."""
FULL = Budget(
    teacher_samples=320_000,
    plain_samples=(32_000, 64_000),
    reinforced_samples=(6_400, 12_800),
    pictures=2_500,
    seeds=3,
    learning_rates=(1e-3, 3e-3),
)
QUICK = Budget(5_120, (2_560,), (640, 1_280), 512, 1, (3e-3,))


def efficiency(
    *,
    data: Path,
    folder: Path = Path("efficiency"),
    quick: bool = False,
    results: Path = RESULTS,
) -> None:
    """Compare the samples that a plain and a reinforced student need for the same accuracy.

    A teacher learns from all labelled pictures of DATA/train. The students have some of them, with
    one caption each, most of which say nothing or something drawn at random; the reinforced one has
    what the teacher says of them, too. Both kinds have the same model, pictures, augmentation
    policy and number of learning rates tried. Every point is a run of its own, with a schedule for
    its number of samples. Accuracy: zero-shot on DATA/val. What is finished in FOLDER is kept, and
    a run that was stopped goes on.

    Args:
        data: folder with labelled shards in train/ and val/, and classnames.txt, such as CIFAR-10.
        folder: everything that is made, one folder for each run.
        quick: minutes instead of an hour; shows that it works, not what it gains.
        results: file that the JSON lines are appended to.
    """
    paths = Paths(data, folder / "quick" if quick else folder)
    budget = QUICK if quick else FULL
    _prepare(paths, budget)
    rates: dict[Kind, float] = {kind: _best_rate(paths, budget, kind) for kind in KINDS}
    rows: list[EfficiencyRow] = []
    for seed in range(budget.seeds):
        plain, reinforced = (_curve(paths, budget, kind, rates[kind], seed) for kind in KINDS)
        rows.append(compare_runs(seed, plain, reinforced))
    _show(rows, paths, budget, rates, results)


@dataclass(frozen=True)
class Paths:
    """Where the data are, and where the stages put things."""

    data: Path
    folder: Path

    @property
    def class_names(self) -> Path:
        """File with the name of each label."""
        return self.data / CLASS_NAMES_FILE

    @property
    def students(self) -> Path:
        """The students' shards and sidecars."""
        return self.folder / "students"

    def run(self, name: str) -> Path:
        """Folder of a training run."""
        return self.folder / "runs" / name


def _prepare(paths: Paths, budget: Budget) -> None:
    """Train the teacher, write the students' shards, and store what the teacher says of them."""
    names = read_class_names(paths.class_names)
    heading("training the teacher")
    _train(
        paths,
        replace(
            get_recipe("cifar10"),
            data=str(paths.data / "train"),
            classes=paths.class_names,
            output=paths.run("teacher"),
            samples_seen=budget.teacher_samples,
        ),
    )
    heading("writing and reinforcing the students' shards")
    paths.folder.mkdir(parents=True, exist_ok=True)
    write = partial(
        write_web_like_shards,
        paths.data / "train",
        class_names=names,
        templates=CIFAR10_TEMPLATES,
        pictures=budget.pictures,
        noise=CAPTION_NOISE,
    )
    write_once(paths.students, write)
    candidates = paths.folder / "candidates.txt"
    prompts = class_prompts(names, CIFAR10_TEMPLATES)
    candidates.write_text("\n".join(prompts) + "\n", encoding="utf-8")
    recipe = get_recipe("cifar10-plain")
    weights = paths.run("teacher") / "weights.safetensors"
    reinforce(
        str(paths.students),
        teacher=(f"teacher=zoo:{recipe.model}@{weights}",),
        candidates=candidates,
        captions=SYNTHETIC_CAPTIONS,
        augmentations=STORED_AUGMENTATIONS,
        policy=recipe.augmentation,
    )


def _best_rate(paths: Paths, budget: Budget, kind: Kind) -> float:
    """The learning rate that ends with the highest accuracy; the earlier of two that are equal."""
    rates, samples = budget.learning_rates, _samples(budget, kind)[TUNED_RUN]
    final = {rate: _student(paths, kind, rate, TUNING_SEED, samples) for rate in rates}
    return max(rates, key=lambda rate: final[rate])


def _samples(budget: Budget, kind: Kind) -> tuple[int, ...]:
    return budget.plain_samples if kind == "plain" else budget.reinforced_samples


def _curve(paths: Paths, budget: Budget, kind: Kind, rate: float, seed: int) -> Curve:
    """Train students for different numbers of samples and return their final accuracies."""
    return [
        (samples, _student(paths, kind, rate, seed, samples)) for samples in _samples(budget, kind)
    ]


def _student(paths: Paths, kind: Kind, rate: float, seed: int, samples: int) -> float:
    """Train a student and return its final accuracy, 0…1."""
    name = f"{kind}-{samples}-{rate:g}-{seed}"
    heading(f"{kind} student, {samples:,} samples, learning rate {rate:g}, seed {seed}")
    recipe = replace(
        get_recipe(f"cifar10-{kind}"),
        data=str(paths.students),
        output=paths.run(name),
        samples_seen=samples,
        warmup_samples=samples // 20,
        learning_rate=rate,
        seed=seed,
    )
    _train(paths, replace(recipe, checkpoint_every=recipe.steps))
    return _final_accuracy(recipe.output)


def _train(paths: Paths, recipe: Recipe) -> None:
    train_once(
        TrainOptions(recipe=recipe, validation=paths.data / "val", class_names=paths.class_names)
    )


def _final_accuracy(run: Path) -> float:
    return read_runs([run])[0].curve(f"{EVALUATION}acc1")[-1][1]


def _show(
    rows: list[EfficiencyRow],
    paths: Paths,
    budget: Budget,
    rates: Mapping[Kind, float],
    results: Path,
) -> None:
    ratio = statistics.median(row.ratio for row in rows)
    metrics = {
        "sample_ratio": ratio,
        "sample_ratio_to_first": statistics.median(row.ratio_to_first for row in rows),
        "plain_acc1": statistics.mean(row.plain_accuracy for row in rows),
        "reinforced_acc1": statistics.mean(row.reinforced_accuracy for row in rows),
    }
    protocol = asdict(budget) | {
        "caption_noise": CAPTION_NOISE,
        "learning_rate_chosen": rates,
        "by_seed": [asdict(row) for row in rows],
    }
    append_result(
        results,
        result_record(
            model=get_recipe("cifar10-plain").model,
            dataset=str(paths.data),
            protocol=protocol,
            metrics=metrics,
            units={
                "sample_ratio": "ratio",
                "sample_ratio_to_first": "ratio",
                "plain_acc1": "fraction",
                "reinforced_acc1": "fraction",
            },
        ),
    )
    teacher = _final_accuracy(paths.run("teacher"))
    heading(f"teacher {teacher:.1%}; learning rates {rates}")
    show_table(_COLUMNS, [_cells(row) for row in rows])
    say(f"median ratio {ratio:.1f}; curves: zoo report {paths.folder / 'runs'}/*")


_COLUMNS = (
    "seed",
    "plain",
    "reinforced",
    "samples, plain",
    "first as good",
    "samples, reinforced",
    "ratio",
    "to the first",
)


def _cells(row: EfficiencyRow) -> list[str]:
    reached = row.reinforced_samples
    return [
        str(row.seed),
        f"{row.plain_accuracy:.1%}",
        f"{row.reinforced_accuracy:.1%}",
        f"{row.plain_samples:,.0f}",
        f"{row.plain_first_samples:,.0f}",
        "never" if reached is None else f"{reached:,.0f}",
        f"{row.ratio:.1f}",
        f"{row.ratio_to_first:.1f}",
    ]
