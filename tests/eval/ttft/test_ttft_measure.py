"""Parts, sums and wholes of the time to first token are those of the candidates that ran.

.venv/bin/pytest tests/eval/ttft/test_ttft_measure.py
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from realistic import make_realistic, relative_error
from torch import nn

from zoo.eval.results import append_result, read_results
from zoo.eval.ttft import lineup as lineups
from zoo.eval.ttft import peers
from zoo.eval.ttft.candidate import PARTS, Candidate, Description, Lap, Part
from zoo.eval.ttft.lineup import Lineup
from zoo.eval.ttft.measure import QUANTITIES, measure_ttft, ttft_record
from zoo.eval.ttft.ours import ZooCandidate, at_size
from zoo.models.fastvlm.packed import PackedLinear
from zoo.models.load import load_model
from zoo.models.reparameterize import merge_branches

SIZE = 192


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture(scope="module")
def lineup() -> list[Candidate]:
    torch.manual_seed(0)
    of_tiny = Lineup(model="fastvlm-tiny", image_sizes=(SIZE,), dtypes=("float32", "int8"))
    return list(of_tiny.candidates(pytest.fail))


def test_every_candidate_of_the_line_up_answers_in_parts_in_their_order(
    lineup: list[Candidate], picture: Path
) -> None:
    described: list[Description] = []
    for candidate in lineup:
        laps: list[Part] = []
        candidate.staged(picture, laps.append)
        assert tuple(laps) == PARTS
        assert candidate.first_token(picture) is not None
        described.append(candidate.description)
    names = [(one.model, one.dtype, one.visual_tokens) for one in described]
    assert names == [
        ("fastvlm-tiny", "float32", 9),
        ("transformers FastVLM", "float32", 9),
        ("LLaVA-1.5", "float32", 16),
        ("SigLIP-SO400M", "float32", 16),
        # The whole, 2 × 2 tiles, and a new line behind each of the 8 rows.
        ("LLaVA-OneVision", "float32", 16 + 8 * 9),
        ("ConvNeXt-L", "float32", 36),
        ("fastvlm-tiny", "int8", 9),
        ("transformers FastVLM, as published", "bfloat16", 9),
    ]
    assert len({one.text_tokens for one in described}) == 1


def test_transformers_fastvlm_with_our_weights_says_what_ours_says(picture: Path) -> None:
    torch.manual_seed(1)
    plain = load_model("fastvlm-tiny", weights=None, reparameterize=False, dtype=torch.float32)
    make_realistic(plain.image_encoder)
    merge_branches(plain.image_encoder)
    ours = at_size(plain.eval(), SIZE)
    shape = peers.fastvlm(ours, [SIZE])[0]
    theirs = shape.model.model
    theirs.vision_tower.timm_model.load_state_dict(ours.image_encoder.state_dict())
    first, _, second = ours.projector.children()
    theirs.multi_modal_projector.linear_1.load_state_dict(first.state_dict())
    theirs.multi_modal_projector.linear_2.load_state_dict(second.state_dict())
    candidate = peers.TransformersCandidate(shape, ours, "transformers", "float32")
    mine = ZooCandidate(ours, "zoo", "float32")
    with torch.no_grad():
        pixels = ours.preprocess(picture)
        features = theirs.get_image_features(pixels).pooler_output
        assert features.std() > 1e-3
        assert relative_error(ours.visual_tokens(pixels), features) < 1e-4
    assert mine.staged(picture, lambda part: None) == candidate.staged(picture, lambda part: None)


def test_a_peers_language_model_has_our_parameters_in_torchs_own_layers(picture: Path) -> None:
    ours = at_size(load_model("fastvlm-tiny", weights=None, dtype=torch.float32), SIZE)
    shape = peers.fastvlm(ours, [SIZE])[0]
    theirs = peers.TransformersCandidate(shape, ours, "transformers", "float32").language_model
    assert any(isinstance(module, PackedLinear) for module in ours.language_model.modules())
    assert not any(isinstance(module, PackedLinear) for module in theirs.modules())
    pairs = zip(theirs.parameters(), ours.language_model.parameters(), strict=True)
    assert all(one is other for one, other in pairs)


class Sleeper(nn.Module):
    """Takes a known time for each part and each prompt."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.embedding = nn.Embedding(4, 8)
        self.language_model: Any = self
        self.prompts: list[torch.Size] = []
        self.log: list[str] = []

    @property
    def description(self) -> Description:
        return Description(
            model=f"sleeper {self.seconds}",
            image_size=SIZE,
            visual_tokens=9,
            text_tokens=5,
            language_model="none",
            dtype="float32",
            device="cpu",
            tower_parameters=0,
        )

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embedding

    def forward(self, *, inputs_embeds: torch.Tensor, **_: Any) -> None:
        self.prompts.append(inputs_embeds.shape)
        time.sleep(3 * self.seconds)

    def staged(self, picture: Path, lap: Lap) -> int:
        for place, part in enumerate(PARTS):
            time.sleep(place * self.seconds)
            lap(part)
        return 0

    def first_token(self, picture: Path) -> str:
        time.sleep(20 * self.seconds)
        return ""


def test_times_are_those_slept_and_the_two_ttfts_are_not_mixed(picture: Path) -> None:
    sleepers = [Sleeper(0.01), Sleeper(0.02)]
    turns: list[str] = []
    rows = measure_ttft(
        sleepers, picture, rounds=3, progress=lambda done, total, name: turns.append(name)
    )
    assert turns == ["sleeper 0.01", "sleeper 0.02"] * 4
    for sleeper, row in zip(sleepers, rows, strict=True):
        unit = sleeper.seconds * 1e3
        slept = dict(zip(PARTS, range(5), strict=True)) | {"visual_prefill": 3, "ttft_e2e": 20}
        for name, times in (slept | {"ttft_paper": 1 + 3}).items():
            assert times * unit <= row.timings[name].p50 < times * unit * 1.5 + 20, name
            assert row.timings[name].lowest <= row.timings[name].p50 <= row.timings[name].highest
        lowest = {name: timing.lowest for name, timing in row.timings.items()}
        assert lowest["ttft_paper"] < lowest["vision"] + lowest["visual_prefill"] + unit
        assert row.timings["ttft_e2e"].cpu_p50 < row.timings["ttft_e2e"].p50
        assert sleeper.prompts == [torch.Size([1, 9, 8])] * 4


def test_a_row_becomes_a_record_that_says_under_what_it_was_measured(
    picture: Path, tmp_path: Path
) -> None:
    row = measure_ttft([Sleeper(0.0)], picture, rounds=1)[0]
    append_result(tmp_path / "results.jsonl", ttft_record(row, picture="a picture"))
    record = read_results(tmp_path / "results.jsonl")[0]
    assert set(asdict(row.description)) <= set(record["protocol"])
    assert {f"{name}_p50_ms" for name in QUANTITIES} <= set(record["metrics"])


def test_threads_are_as_before_even_where_a_candidate_fails(tmp_path: Path) -> None:
    torch.manual_seed(0)
    candidates = Lineup(model="fastvlm-tiny", image_sizes=(SIZE,), peers=())
    before = torch.get_num_threads()
    with pytest.raises(FileNotFoundError, match="No image"):
        measure_ttft(
            list(candidates.candidates(pytest.fail)), tmp_path / "none.jpg", threads=before + 1
        )
    assert torch.get_num_threads() == before


def test_what_does_not_fit_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineups, "why_not", lambda needed, device: f"{needed} bytes are too many")
    said: list[str] = []
    candidates = Lineup(model="fastvlm-7b", image_sizes=(1024,), dtypes=("float32",))
    assert not list(candidates.candidates(said.append))
    assert [sentence.split(" in ")[0] for sentence in said] == [
        "fastvlm-7b",
        "transformers-bfloat16",
    ]
    needed = int(said[0].split(": ")[1].split()[0])
    assert 31e9 < needed < 36e9  # 7.6 G parameters of 4 bytes, the tower, and one answer


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"dtypes": ("float8",)}, "float32, float16"),
        ({"dtypes": ("int8",)}, "add float32"),
        ({"image_sizes": ()}, "image size"),
    ],
)
def test_a_line_up_that_cannot_be_says_why(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Lineup(**({"model": "fastvlm-tiny", "image_sizes": (SIZE,)} | settings))
