"""A folder belongs to the settings it was begun with.

.venv/bin/pytest tests/training/checkpoints/test_claim.py
"""

from pathlib import Path

import pytest

from zoo.training.checkpoints.claim import claim_folder


def test_equal_settings_go_on_and_others_are_refused_by_name(tmp_path: Path) -> None:
    note = tmp_path / "run" / "note.json"
    claim_folder(note, {"seed": 1, "steps": [1, 2]})
    before = note.read_bytes()
    claim_folder(note, {"seed": 1, "steps": [1, 2]})
    with pytest.raises(ValueError, match=r"run' was begun with seed=1, this run has seed=2; "):
        claim_folder(note, {"seed": 2, "steps": [1, 2]})
    assert note.read_bytes() == before


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]"])
def test_a_damaged_note_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "note.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"note\.json' (is damaged|holds no settings)"):
        claim_folder(tmp_path / "note.json", {"seed": 1})
