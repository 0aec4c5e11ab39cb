"""`zoo data check`, `zoo data repair`, `zoo data show` and `zoo data stats`."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import tyro

from zoo.commands.console import duration, say, show_table, status
from zoo.reinforced_data.inspection.check import check_shards
from zoo.reinforced_data.inspection.contact_sheet import write_contact_sheet
from zoo.reinforced_data.inspection.distributions import summary
from zoo.reinforced_data.inspection.show import reinforced_samples
from zoo.reinforced_data.inspection.stats import DataStatistics
from zoo.reinforced_data.inspection.stats_plot import write_histograms
from zoo.reinforced_data.shards.find import find_shards
from zoo.reinforced_data.shards.repair import repair_shard
from zoo.reinforced_data.sidecars.tensor_file import write_whole

SOMETHING_FOUND = 1

_Shards = Annotated[tuple[str, ...], tyro.conf.Positional]


def check(shards: _Shards, /, *, workers: int = 0) -> None:
    """Look for everything in shards and sidecars that would go wrong later; exit code 1 if any.

    Damaged tars, unusable samples, samples that webdataset would lose, sidecars that were altered,
    do not fit their shard or hold empty embeddings. Every picture is decoded; nothing is written.

    Args:
        shards: folders, globs, brace patterns or tars.
        workers: processes beside this one that read shards.
    """
    paths = find_shards(shards)
    progress = _Progress(sum(path.stat().st_size for path in paths))
    samples, sidecars, kinds = 0, 0, Counter[str]()
    for result in check_shards(paths, workers=workers):
        samples += result.samples
        sidecars += result.has_sidecar
        kinds.update(finding.kind for finding in result.findings)
        for finding in result.findings:
            say(str(finding))
        progress.add(result.shard.stat().st_size)
    found = [f"{name}: {count}" for name, count in sorted(kinds.items())] or ["nothing"]
    columns = ("shards", "sidecars", "samples", "found")
    show_table(columns, [(len(paths), sidecars, samples, ", ".join(found))])
    if kinds:
        raise SystemExit(SOMETHING_FOUND)


def repair(shards: _Shards, /, *, output: Path) -> None:
    """Write a sound copy of every shard into a folder and list every loss and change.

    The shards themselves are only read. Sidecars are not copied.

    Args:
        shards: folders, globs, brace patterns or tars.
        output: folder of the copies; must not hold files of their names.
    """
    paths = find_shards(shards)
    progress = _Progress(sum(path.stat().st_size for path in paths))
    rows = []
    for path in paths:
        result = repair_shard(path, output)
        for change in result.changes:
            say(change)
        what = "as it was" if not result.changes else f"changes: {len(result.changes)}"
        rows.append((path, result.samples, what if result.copy else "nothing left, no copy"))
        progress.add(path.stat().st_size)
    show_table(("shard", "samples in the copy", "copy"), rows)
    say(
        f"The copies are in {output}; the sidecar of a copy without changes can be copied beside "
        "it, the others are to be reinforced again."
    )


def show(
    shard: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    key: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    samples: int = 4,
    output: Path = Path("sheet.png"),
) -> None:
    """Draw samples of a reinforced shard: picture, augmentations, captions, similarities.

    Args:
        shard: one tar with its sidecar beside it.
        key: sample to draw; repeat for several.
        samples: how many to draw, spread over the shard, where no key is given.
        output: PNG file.
    """
    drawn = reinforced_samples(shard, keys=key, count=samples)
    write_contact_sheet(output, drawn, title=shard.name)
    say(f"wrote {output}: {', '.join(sample.key for sample in drawn)}")


def stats(shards: _Shards, /, *, output: Path | None = None, plot: Path | None = None) -> None:
    """Count samples and bytes, lengths of captions, and similarities of pictures and captions.

    Args:
        shards: folders, globs, brace patterns or tars.
        output: JSON file for all figures.
        plot: PNG file for the histograms.
    """
    paths = find_shards(shards)
    progress = _Progress(sum(path.stat().st_size for path in paths))
    statistics = DataStatistics()
    for path in paths:
        statistics.add_shard(path)
        progress.add(path.stat().st_size)
    show_table(("", ""), _totals(statistics))
    show_table(("captions", "count", "words", "characters"), _caption_rows(statistics))
    if statistics.similarity:
        show_table(("teacher", "captions", "pairs", "cosine"), _similarity_rows(statistics))
    if output is not None:
        text = json.dumps(statistics.to_json(), indent=1, sort_keys=True)
        write_whole(output, [text.encode()])
    if plot is not None:
        write_histograms(plot, statistics)


class _Progress:
    """Shows how many of the bytes are done, at what rate, and how long the rest will take."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._start = max(total, 1), 0, time.monotonic()

    def add(self, count: int) -> None:
        self._done = min(self._done + count, self._total)
        rate = self._done / max(time.monotonic() - self._start, 1e-9)
        left = (self._total - self._done) / rate if rate else 0
        status(
            f"{self._done / 1e6:,.0f} of {self._total / 1e6:,.0f} MB, "
            f"{rate / 1e6:,.1f} MB a second, {duration(left)} left"
        )


def _totals(statistics: DataStatistics) -> list[tuple[str, str]]:
    reinforced = statistics.reinforced
    rows = [
        ("shards", f"{statistics.shards}, {statistics.sidecars} of them with a sidecar"),
        ("samples", f"{statistics.samples}, {reinforced} of them reinforced"),
    ]
    for part, size in statistics.bytes.most_common():
        of = statistics.samples if part == "shards" else reinforced
        rows.append((part, f"{size / 1e6:,.1f} MB, {size / max(of, 1):,.0f} bytes a sample"))
    return rows


def _caption_rows(statistics: DataStatistics) -> list[tuple[str, int, str, str]]:
    return [
        (kind, lengths.words.total(), _range(lengths.words), _range(lengths.characters))
        for kind, lengths in statistics.captions.items()
    ]


def _range(counts: Counter[int]) -> str:
    lengths = summary(counts)
    return f"{lengths['least']}–{lengths['most']}, mean {lengths['mean']:.1f}"


def _similarity_rows(statistics: DataStatistics) -> list[tuple[str, str, int, str]]:
    return [
        (
            teacher,
            kind,
            int(histogram.counts.sum()),
            f"{histogram.mean:.3f} ± {histogram.deviation:.3f}",
        )
        for teacher, kinds in statistics.similarity.items()
        for kind, histogram in kinds.items()
    ]
