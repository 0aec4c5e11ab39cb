"""The curation commands make subsets that chain, with reports, and say what is wrong with input.

.venv/bin/pytest tests/zoo/test_curate.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_sidecars import TEACHER, make_sidecar, random_unit, unit
from tiny_shards import make_samples

from zoo.cli import main
from zoo.models.checkpoint import save_weights
from zoo.models.load import load_model
from zoo.reinforced_data.curation.subset import Subset
from zoo.reinforced_data.engine.teachers import load_teacher
from zoo.reinforced_data.shards.write import write_shards

SAMPLES = 40
COPIES = 8
SAGE = ("--teacher", TEACHER)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two shards of pictures with made embeddings; the last eight pictures are copies."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data"
    originals = random_unit(SAMPLES - COPIES, 16)
    images = np.concatenate([originals, originals[:COPIES]])
    texts = unit(images + random_unit(SAMPLES, 16, seed=1))
    samples = make_samples(SAMPLES)
    for number, shard in enumerate(write_shards(samples, folder, samples_per_shard=25)):
        rows = slice(25 * number, 25 * number + 25)
        keys = tuple(sample.key for sample in samples[rows])
        captions = [("a bird",)] * len(keys)
        make_sidecar(shard, images[rows], texts[rows], keys=keys, captions=captions)
    return folder


def zoo(*arguments: object) -> int:
    return main(["data", *map(str, arguments)])


def open_subset(name: str) -> Subset:
    return Subset.open(f"{name}.subset.safetensors")


def output(name: str) -> tuple[str, str]:
    return "--output", f"{name}.subset.safetensors"


def test_filter_dedup_and_prune_chain(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert zoo("dedup", data, *SAGE, *output("d")) == 0
    assert len(open_subset("d")) == SAMPLES - COPIES
    after = ("--subset", "d.subset.safetensors")
    assert zoo("filter", data, *SAGE, "--keep", 0.5, *output("f"), *after) == 0
    assert len(open_subset("f")) == (SAMPLES - COPIES) // 2
    after = ("--subset", "f.subset.safetensors")
    assert zoo("prune", data, *SAGE, "--keep", 0.25, "--clusters", 3, *output("p"), *after) == 0
    pruned, filtered, deduplicated = (open_subset(name) for name in "pfd")
    assert len(pruned) == 4
    for shard in pruned.shards:
        assert set(pruned.keys(shard)) <= set(filtered.keys(shard))
        assert set(filtered.keys(shard)) <= set(deduplicated.keys(shard))
    assert "lowest cosine kept" in capsys.readouterr().out


def test_a_report_shows_figures_pictures_and_settings(data: Path) -> None:
    assert zoo("dedup", data, *SAGE, *output("new/d")) == 0
    page = Path("new/d.report.html").read_text()
    assert page.count("<svg") == 2
    assert page.count("<img") == COPIES  # a picture a pair
    assert all(word in page for word in ("epsilon", "photo000", "photo032", "cosine 1.0000"))
    assert not list(Path("new").glob("*tmp*"))


def test_the_same_command_gives_the_same_bytes(data: Path) -> None:
    for name in ("one", "two"):
        assert zoo("prune", data, *SAGE, "--keep", 0.5, "--clusters", 4, *output(name)) == 0
    one, two = (Path(f"{name}.subset.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


def test_a_subset_says_how_it_was_made(data: Path) -> None:
    assert zoo("dedup", data, *SAGE, "--keep", 0.5, *output("d")) == 0
    metadata = open_subset("d").metadata
    assert metadata["made_by"] == "dedup"
    assert json.loads(metadata["settings"])["teacher"] == TEACHER


def test_shards_are_not_needed_where_embeddings_suffice(data: Path) -> None:
    for shard in data.glob("*.tar"):
        shard.unlink()
    assert zoo("filter", data, *SAGE, "--keep", 0.5, *output("f")) == 0
    assert "<img" not in Path("f.report.html").read_text()


def test_stored_embeddings_are_queries_without_a_model(data: Path) -> None:
    queries = ("--query-shards", data / "00001.tar")
    assert zoo("retrieve", data, *SAGE, "--quota", 1, *queries, *output("r")) == 0
    assert len(open_subset("r")) == 15


def test_texts_and_pictures_are_encoded_by_the_very_teacher(tmp_path: Path) -> None:
    """The sidecar holds what the teacher says of texts: each query finds its own."""
    model = load_model("mobileclip-tiny", weights=None)
    save_weights(model, tmp_path / "w.safetensors")
    spec = f"tiny=zoo:mobileclip-tiny@{tmp_path / 'w.safetensors'}"

    teacher = load_teacher(spec)
    texts = [f"thing number {i}" for i in range(6)]
    vectors = teacher.encode_texts(texts)
    make_sidecar(tmp_path / "a.tar", vectors, teacher="tiny", pretrained=teacher.pretrained)
    (tmp_path / "q.txt").write_text(f"{texts[4]}\n\n{texts[1]}\n")
    flags = ("--teacher", "tiny", "--quota", 1, "--queries", tmp_path / "q.txt")
    result = tmp_path / "r.subset.safetensors"
    arguments = ("retrieve", tmp_path, *flags, "--output", result)
    assert zoo(*arguments, "--teacher-model", spec) == 0
    assert Subset.open(result).keys("a.tar") == ("a-1", "a-4")


def test_other_weights_of_the_teacher_are_refused(
    data: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("q.txt").write_text("a dog\n")
    flags = ("--quota", 1, "--queries", "q.txt", *output("r"))
    model = ("--teacher-model", f"{TEACHER}=zoo:mobileclip-tiny@{weights}")
    assert zoo("retrieve", data, *SAGE, *flags, *model) == 2
    assert "only one teacher's can be compared" in capsys.readouterr().err


def test_balance_weighs_by_the_rarest_concept(data: Path) -> None:
    Path("concepts.txt").write_text("red\nthing\nbird\nokapi\n")
    flags = ("--concepts", "concepts.txt", "--cap", 4, "--captions", "ground-truth")
    assert zoo("balance", data, *flags, *output("b")) == 0
    keys = [f"photo{i:03d}" for i in range(25)]
    rows, found = open_subset("b").rows("00000.tar", keys)
    assert rows.tolist() == list(range(25))
    np.testing.assert_allclose(found[:5], [4 / 8, 4 / 40, 4 / 40, 4 / 40, 4 / 40])
    page = Path("b.report.html").read_text()
    assert "Never named: 2 concepts" in page


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("filter data --teacher oracle --keep 0.5", "no teacher 'oracle'; it has sage"),
        ("filter data --teacher sage --keep 1.5", "--keep is 1.5"),
        ("filter nothing --teacher sage --keep 0.5", "There is no sidecar"),
        ("dedup data --teacher oracle", "no teacher 'oracle'; it has sage"),
        ("dedup data --teacher sage --clusters 0", "--clusters is 0"),
        ("dedup data --teacher sage --subset no.subset.safetensors", "There is no subset"),
        ("prune data --teacher sage --keep 0", "--keep is 0"),
        ("retrieve data --teacher sage --quota 1", "Give --queries with --teacher-model"),
        ("retrieve data --teacher sage --quota 0 --query-shards data", "--quota is 0"),
        ("balance data --concepts no.txt", "There is no list 'no.txt'"),
    ],
)
def test_bad_input_ends_in_a_sentence_and_writes_nothing(
    data: Path, capsys: pytest.CaptureFixture[str], arguments: str, sentence: str
) -> None:
    assert zoo(*arguments.split(), *output("x")) == 2
    assert sentence in capsys.readouterr().err
    assert not list(Path().glob("x.*"))


def test_the_name_of_the_output_is_checked_first(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert zoo("filter", data, *SAGE, "--keep", 0.5, "--output", "x.txt") == 2
    assert "end in .subset.safetensors" in capsys.readouterr().err
