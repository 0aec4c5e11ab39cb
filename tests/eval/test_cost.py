"""Multiply-adds, activation memory and latency are what a hand count and the reference say.

.venv/bin/pytest tests/eval/test_cost.py
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from zoo.eval.latency import latency_record, measure_latency
from zoo.eval.macs import count_macs
from zoo.eval.memory import peak_activation_bytes
from zoo.eval.results import append_result
from zoo.models.card import ImageTextCard
from zoo.models.image_text_model import ImageTextModel
from zoo.models.load import load_model
from zoo.models.mobileclip.build import build_model
from zoo.models.mobileclip.cards import CARDS
from zoo.models.registry import get_card_of

# Giga multiply-adds, train-time and reparameterized, at the input size of the model: counted on
# the original implementation; mci0, mci1 and mci2 are printed as 2.4, 4.7 and 7.8 in the paper.
IMAGE_GMACS = {
    "mobileclip-s0": (2.393, 2.385),
    "mobileclip-s1": (4.668, 4.658),
    "mobileclip-s2": (7.846, 7.834),
    "mobileclip-b": (17.708, 17.708),
    "mobileclip-s3": (14.821, 14.812),
    "mobileclip-s4": (27.770, 27.758),
    "mobileclip-l-14": (81.013, 81.013),
}
# The last is 12 * (12 * 768^2 * 77 + 2 * 77^2 * 768), computed.
TEXT_GMACS = {"mobileclip-s0": 1.318, "mobileclip-s1": 2.980, "mobileclip-s3": 6.65}


@pytest.fixture(scope="module")
def tiny() -> ImageTextModel:
    torch.manual_seed(0)
    return load_model("mobileclip-tiny", weights=None, reparameterize=False)


def without_values(card: ImageTextCard) -> ImageTextModel:
    """The model on the meta device: counting needs shapes alone."""
    with torch.device("meta"):
        return build_model(card).eval()


@pytest.mark.parametrize("name", IMAGE_GMACS)
def test_image_tower_macs_are_the_reference_before_and_after_fusing(name: str) -> None:
    model = without_values(get_card_of(ImageTextCard, name))
    example = torch.rand(1, 3, model.card.image_size, model.card.image_size, device="meta")
    train_time, fused = IMAGE_GMACS[name]
    assert count_macs(model.image_encoder, example) / 1e9 == pytest.approx(train_time, abs=1e-3)
    fused_encoder = model.reparameterize().image_encoder
    assert count_macs(fused_encoder, example) / 1e9 == pytest.approx(fused, abs=1e-3)


@pytest.mark.parametrize("name", TEXT_GMACS)
def test_text_tower_macs_are_the_reference(name: str) -> None:
    model = without_values(get_card_of(ImageTextCard, name))
    text = torch.zeros(1, model.card.context_length, dtype=torch.int64, device="meta")
    assert count_macs(model.text_encoder, text) / 1e9 == pytest.approx(TEXT_GMACS[name], abs=1e-3)


def test_image_tower_macs_are_those_published_on_the_card() -> None:
    cards = [card for card in CARDS if card.results and card.results.image_gmacs]
    assert len(cards) == 5
    for card in cards:
        assert card.results is not None
        size = card.image_size
        example = torch.rand(1, 3, size, size, device="meta")
        macs = count_macs(without_values(card).reparameterize().image_encoder, example)
        assert macs / 1e9 == pytest.approx(card.results.image_gmacs, abs=0.05), card.name


def test_the_fused_path_of_multihead_attention_is_counted() -> None:
    layer = nn.MultiheadAttention(64, 4, batch_first=True)
    tokens = torch.randn(2, 10, 64)
    by_hand = 2 * (4 * 64 * 64 * 10 + 2 * 10 * 10 * 64)
    assert count_macs(layer, tokens, tokens, tokens) == by_hand
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("causal", [False, True])
def test_scaled_dot_product_attention_is_counted_in_full(causal: bool) -> None:
    class Attention(nn.Module):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return F.scaled_dot_product_attention(tokens, tokens, tokens, is_causal=causal)

    assert count_macs(Attention(), torch.randn(2, 4, 10, 16)) == 2 * 2 * 4 * 10 * 10 * 16


def test_a_depthwise_convolution_counts_its_own_channel_only() -> None:
    layer = nn.Conv2d(8, 8, 3, groups=8, padding=1)
    assert count_macs(layer, torch.randn(1, 8, 5, 5)) == 8 * 9 * 25


def test_peak_activations_are_the_two_largest_neighbours_of_a_chain() -> None:
    chain = nn.Sequential(nn.Linear(10, 100), nn.ReLU(), nn.Linear(100, 7), nn.ReLU())
    # ReLU's input and output are alive together: 2 x (3, 100) float32.
    assert peak_activation_bytes(chain, torch.randn(3, 10)) == 2 * 3 * 100 * 4


def test_views_and_work_in_place_need_no_activation_memory() -> None:
    layer = nn.Sequential(nn.Linear(4, 6), nn.Flatten(0), nn.ReLU(inplace=True))
    assert peak_activation_bytes(layer, torch.randn(5, 4)) == 5 * 6 * 4


def test_fusing_lowers_the_activations_of_a_stem_with_a_scale_branch() -> None:
    model = without_values(get_card_of(ImageTextCard, "mobileclip-s0"))
    example = torch.rand(1, 3, 256, 256, device="meta")
    fused = model.reparameterize()
    assert peak_activation_bytes(fused.image_encoder, example) < (
        peak_activation_bytes(model.image_encoder, example)
    )


def test_fusing_lowers_macs_and_parameters(tiny: ImageTextModel) -> None:
    rows = {row.variant: row for row in measure_latency(tiny, rounds=5, parts=("image",))}
    train_time, fused = rows["train-time"], rows["reparameterized"]
    assert fused.macs < train_time.macs
    assert fused.parameters < train_time.parameters
    assert "reparameterized, channels last" in rows


def test_a_row_says_what_was_measured_and_becomes_a_record(tiny: ImageTextModel, tmp_path) -> None:
    threads = torch.get_num_threads()
    done: list[tuple[int, int]] = []
    rows = measure_latency(
        tiny, rounds=5, batch_size=2, parts=("text",), progress=lambda *step: done.append(step)
    )
    row = rows[-1]
    assert (row.part, row.batch_size, row.input_size, row.threads, row.rounds) == (
        "text", 2, tiny.card.context_length, 1, 5,
    )  # fmt: skip
    assert 0 < row.p50_ms <= row.p90_ms and 0 < row.cpu_p50_ms <= row.cpu_p90_ms
    assert row.macs == count_macs(tiny.text_encoder, tiny.tokenize(["a", "b"]))
    assert done == [(step, 5) for step in range(1, 6)]
    assert torch.get_num_threads() == threads
    append_result(tmp_path / "results.jsonl", latency_record(tiny, row))


def test_a_fused_model_has_no_train_time_row(tiny: ImageTextModel) -> None:
    rows = measure_latency(tiny.reparameterize(), rounds=5)
    assert "train-time" not in {row.variant for row in rows}
    assert {row.part for row in rows} == {"image", "text"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rounds": 4}, "4 rounds give no spread"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"threads": 0}, "threads=0"),
        ({"parts": ()}, "'image' and 'text'"),
        ({"parts": ("audio",)}, "audio"),
    ],
)
def test_a_measurement_that_means_nothing_is_refused(
    tiny: ImageTextModel, arguments: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        measure_latency(tiny, **arguments)
