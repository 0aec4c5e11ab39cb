"""One pass of the merged model stands beside SAM and a CLIP apart, with their time and memory.

.venv/bin/pytest tests/eval/segmentation/test_one_pass.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from zoo.eval.results import append_result, read_results
from zoo.eval.segmentation.one_pass import measure_one_pass, one_pass_record
from zoo.models.load import load_image_text_model
from zoo.models.sam_clip.load import load_sam_clip


def test_rows_give_time_and_memory_of_each_and_of_both() -> None:
    model = load_sam_clip("sam-clip-tiny", weights=None, image_size=64)
    clip = load_image_text_model("mobileclip-tiny", weights=None)
    threads, rounds = torch.get_num_threads(), []
    rows = {
        row.candidate: row
        for row in measure_one_pass(
            model, clip, boxes=2, progress=lambda done, total: rounds.append((done, total))
        )
    }
    merged, both = rows["one pass"], rows["SAM + CLIP"]
    sam, alone = rows["SAM alone"], rows["CLIP alone"]
    assert list(rows) == ["one pass", "SAM + CLIP", "SAM alone", "CLIP alone"]
    assert rounds == [(done, 5) for done in range(1, 6)]
    assert torch.get_num_threads() == threads
    head = sum(parameter.numel() for parameter in model.clip_head.parameters())
    assert merged.parameters == sam.parameters + head
    assert both.parameters == sam.parameters + alone.parameters
    assert both.lowest_ms >= sam.lowest_ms + alone.lowest_ms
    assert all(row.lowest_ms <= row.p50_ms <= row.highest_ms for row in rows.values())
    assert both.activation_bytes >= max(sam.activation_bytes, alone.activation_bytes)
    assert (merged.image_size, merged.clip_image_size, merged.boxes) == (64, 64, 2)


def test_a_row_becomes_a_line_of_results(tmp_path: Path) -> None:
    model = load_sam_clip("sam-clip-tiny", weights=None, image_size=64)
    clip = load_image_text_model("mobileclip-tiny", weights=None)
    row = measure_one_pass(model, clip, boxes=1)[0]
    append_result(tmp_path / "r.jsonl", one_pass_record(row))
    (record,) = read_results(tmp_path / "r.jsonl")
    assert record["protocol"]["candidate"] == "one pass"
    assert record["protocol"]["clip"] == "mobileclip-tiny"
    assert record["metrics"]["parameters"] == row.parameters


@pytest.mark.parametrize("options", [{"rounds": 4}, {"boxes": 0}, {"threads": 0}])
def test_too_little_to_measure_is_refused(options: dict[str, int]) -> None:
    model = load_sam_clip("sam-clip-tiny", weights=None, image_size=64)
    clip = load_image_text_model("mobileclip-tiny", weights=None)
    with pytest.raises(ValueError, match=r"at least [51]"):
        measure_one_pass(model, clip, **options)  # pyright: ignore[reportArgumentType]
