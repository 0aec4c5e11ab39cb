"""A note in a folder of what was asked for, so that work of another kind does not go on there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.reinforced_data.sidecars.tensor_file import write_whole


def claim_folder(note: Path, asked: Mapping[str, Any]) -> None:
    """Write the settings `asked` to the file `note`, or make sure that it holds the same ones.

    `asked` has values that JSON keeps as they are. Raises ValueError for a note with another value,
    and for a damaged one.
    """
    if not note.exists():
        note.parent.mkdir(parents=True, exist_ok=True)
        write_whole(note, [json.dumps(asked, indent=2).encode() + b"\n"])
        return
    written = _read(note)
    for name, value in asked.items():
        if written.get(name) != value:
            raise ValueError(
                f"'{note.parent}' was begun with {name}={written.get(name)}, this run has "
                f"{name}={value}; give the same value or choose another folder."
            )


def _read(note: Path) -> dict[str, Any]:
    try:
        written = json.loads(note.read_bytes())
    except ValueError as error:
        raise ValueError(f"'{note}' is damaged ({error}); begin in another folder.") from error
    if not isinstance(written, dict):
        raise ValueError(f"'{note}' holds no settings; begin in another folder.")
    return written
