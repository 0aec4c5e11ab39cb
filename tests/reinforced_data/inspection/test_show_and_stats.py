"""What is shown and counted is what the sidecar holds.

Run: .venv/bin/pytest tests/reinforced_data/inspection/test_show_and_stats.py
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reinforced_shards import SYNTHETIC, add_sidecar

from zoo.reinforced_data.inspection.contact_sheet import write_contact_sheet
from zoo.reinforced_data.inspection.distributions import SimilarityHistogram, summary
from zoo.reinforced_data.inspection.show import VIEW_SIZE, reinforced_samples
from zoo.reinforced_data.inspection.stats import DataStatistics
from zoo.reinforced_data.inspection.stats_plot import write_histograms
from zoo.reinforced_data.shards.index import ShardIndex, load_picture
from zoo.reinforced_data.sidecars.sidecar import Sidecar, sidecar_path

# Showing


def test_a_shown_sample_is_what_its_sidecar_holds(shards: list[Path]) -> None:
    sidecar = Sidecar.open(add_sidecar(shards[0]))
    (shown,) = reinforced_samples(shards[0], keys=["photo002"])
    sample, picture = load_picture(ShardIndex(shards[0]), 2)
    assert (shown.key, shown.ground_truth) == ("photo002", sample.captions[0])
    assert shown.synthetic == SYNTHETIC
    assert len(shown.views) == 3
    for a, view in enumerate(shown.views):
        again = sidecar.policy.replay(picture, sidecar.augment_params(2, a), VIEW_SIZE)
        assert view.tobytes() == again.tobytes()
    assert set(shown.similarity) == {"sage", "owl.tiny"}
    expected = sidecar.image_embedding("sage", 2, 1) @ sidecar.text_embedding("sage", 2, 2)
    assert shown.similarity["sage"].shape == (3, 3)
    assert shown.similarity["sage"][1, 2] == pytest.approx(expected, abs=1e-6)


def test_samples_are_spread_over_the_valid_ones(shards: list[Path]) -> None:
    add_sidecar(shards[0], change=lambda rows: rows.valid.__setitem__(5, False))
    shown = [sample.key for sample in reinforced_samples(shards[0], count=3)]
    assert shown == ["photo000", "photo002", "photo004"]
    assert len(reinforced_samples(shards[0], count=99)) == 5


def test_a_sample_that_cannot_be_shown_is_named(shards: list[Path]) -> None:
    with pytest.raises(FileNotFoundError, match="No sidecar"):
        reinforced_samples(shards[0])
    add_sidecar(shards[0], change=lambda rows: rows.valid.__setitem__(5, False))
    for key, problem in (("photo9", "no sample 'photo9'"), ("photo005", "could not be used")):
        with pytest.raises(ValueError, match=problem):
            reinforced_samples(shards[0], keys=[key])
    with pytest.raises(ValueError, match="is 0; give at least 1"):
        reinforced_samples(shards[0], count=0)


@pytest.mark.parametrize("augmentations", [1, 7])
def test_the_sheet_grows_with_what_it_shows(
    shards: list[Path], tmp_path: Path, augmentations: int
) -> None:
    add_sidecar(shards[0], augmentations=augmentations)
    heights = []
    for count in (1, 3):
        samples = reinforced_samples(shards[0], count=count)
        write_contact_sheet(tmp_path / "sheet.png", samples, title="a $shard$.tar")
        with Image.open(tmp_path / "sheet.png") as sheet:
            heights.append(sheet.height)
            assert sheet.convert("L").getextrema() != (255, 255)
    assert heights[1] > 2 * heights[0]


# Statistics


def gather(shards: list[Path]) -> DataStatistics:
    statistics = DataStatistics()
    for shard in shards:
        statistics.add_shard(shard)
    return statistics


def test_counts_are_those_of_the_files(shards: list[Path]) -> None:
    add_sidecar(shards[0], change=lambda rows: rows.valid.__setitem__(5, False))
    found = gather(shards)
    assert (found.shards, found.sidecars, found.samples, found.reinforced) == (2, 1, 11, 5)
    assert found.bytes["shards"] == sum(shard.stat().st_size for shard in shards)
    assert found.bytes["sidecars"] == sidecar_path(shards[0]).stat().st_size
    assert found.bytes["image embeddings"] == 2 * 6 * 3 * (16 + 2)  # int8 and a float16 scale
    assert found.bytes["augmentation parameters"] == 6 * 3 * 9 * 4
    assert found.captions["ground truth"].words == Counter({3: 22})
    assert found.captions["synthetic"].words == Counter({6: 5, 5: 5})
    assert found.captions["synthetic"].characters[len(SYNTHETIC[0])] == 5


def test_similarities_are_those_of_every_view_and_caption(shards: list[Path]) -> None:
    sidecars = [Sidecar.open(add_sidecar(shard)) for shard in shards]
    found = gather(shards).similarity["owl.tiny"]
    cosines = np.array(
        [
            [one.image_embedding("owl.tiny", i, a) @ one.text_embedding("owl.tiny", i, t)]
            for one in sidecars
            for i in range(one.header.samples)
            for a in range(3)
            for t in range(3)
        ]
    ).reshape(11, 3, 3)
    for kind, part in (("ground truth", cosines[..., 0]), ("synthetic", cosines[..., 1:])):
        assert found[kind].counts.sum() == part.size
        assert found[kind].mean == pytest.approx(part.mean(), abs=1e-6)
        assert found[kind].deviation == pytest.approx(part.std(), abs=1e-6)
        counts = np.histogram(part, np.linspace(-1, 1, 201))[0]
        assert abs(found[kind].counts - counts).sum() <= 2  # one may lie on an edge


def test_rounding_beyond_one_is_counted() -> None:
    histogram = SimilarityHistogram()
    histogram.add(np.array([1.0001, -1.0001], np.float32))
    assert (histogram.counts[0], histogram.counts[-1]) == (1, 1)


@pytest.mark.parametrize("lengths", [[], [3], [1, 2], [1, 2, 9], [4, 4, 4, 9]])
def test_the_summary_of_counted_lengths(lengths: list[int]) -> None:
    found = summary(Counter(lengths))
    if not lengths:
        assert set(found.values()) == {0}
        return
    middle = sorted(lengths)[(len(lengths) - 1) // 2]
    mean = pytest.approx(sum(lengths) / len(lengths))
    assert found == {"least": min(lengths), "mean": mean, "median": middle, "most": max(lengths)}


def test_histograms_are_drawn_with_and_without_sidecars(shards: list[Path], tmp_path: Path) -> None:
    widths = []
    for _ in range(2):
        write_histograms(tmp_path / "plot.png", gather(shards))
        with Image.open(tmp_path / "plot.png") as plot:
            widths.append(plot.width)
        add_sidecar(shards[0])
    assert widths[1] == pytest.approx(3 * widths[0], abs=3)
