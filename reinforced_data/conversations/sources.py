"""Which conversations a run is trained on: a file, shards, or a mix of them with weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.reinforced_data.conversations.index import ConversationIndex
from zoo.reinforced_data.conversations.json_file import SUFFIXES, index_json
from zoo.reinforced_data.conversations.json_records import first_record, json_records
from zoo.reinforced_data.conversations.problems import Problems
from zoo.reinforced_data.conversations.shard_files import index_shards
from zoo.reinforced_data.shards.find import find_shards

_FIELDS = {"data", "images", "weight"}


@dataclass(frozen=True, kw_only=True)
class ConversationSource:
    """Conversations of one kind."""

    data: str
    """A LLaVA file (.json, .jsonl), or a folder, file, glob or brace pattern of shards."""
    images: Path | None = None
    """Folder of the pictures that a file names, None for its own; shards hold theirs."""
    weight: float = 1.0
    """How much of it a pass shows: 1 is every sample once, 0.3 three of ten, 2 each twice."""

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"The weight of '{self.data}' is {self.weight}; give one above 0.")

    def index(self, problems: Problems) -> ConversationIndex:
        """List the usable conversations; the others go to `problems`.

        Raises FileNotFoundError for a file or folder that is not there, and ValueError for one that
        is damaged, or of whose conversations less than half can be used.
        """
        before = problems.count
        index = self._read(problems)
        unusable = problems.count - before
        if not len(index) or len(index) < unusable:
            raise ValueError(
                f"Of {len(index) + unusable} conversations in '{self.data}' only {len(index)} can "
                f"be used; look at the data or the image folder. {problems.last}".rstrip()
            )
        return index

    def _read(self, problems: Problems) -> ConversationIndex:
        path = Path(self.data).expanduser()
        if path.suffix in SUFFIXES:
            return index_json(path, (self.images or path.parent).expanduser(), problems)
        return index_shards(find_shards(self.data), problems)


def conversation_sources(data: str, images: Path | None = None) -> tuple[ConversationSource, ...]:
    """Return what `data` names.

    Args:
        data: a LLaVA file, shards, or a mix: a .json list of {"data": …, "images": …, "weight": …}
            whose relative paths count from the folder of the mix; only "data" has to be there.
        images: folder of the pictures that a file names, None for the file's own; of the entries of
            a mix, of those that name none.

    Raises FileNotFoundError without the file, and ValueError for an entry of another form.
    """
    path = Path(data).expanduser()
    if path.suffix != ".json" or not _is_mix_entry(first_record(path)):
        return (ConversationSource(data=data, images=images),)
    return tuple(_source(path, record.content, images) for record in json_records(path))


def _is_mix_entry(record: Any) -> bool:
    return isinstance(record, dict) and "data" in record and "conversations" not in record


def _source(mix: Path, entry: Any, images: Path | None) -> ConversationSource:
    if not _is_mix_entry(entry) or not set(entry) <= _FIELDS or not _has_right_types(entry):
        raise ValueError(
            f"The mix '{mix}' has the entry {entry!r}; expected "
            '{"data": path, "images": folder, "weight": number}, of which "data" is needed.'
        )
    if entry.get("images") is not None:
        images = mix.parent / Path(entry["images"]).expanduser()
    return ConversationSource(
        data=str(mix.parent / Path(entry["data"]).expanduser()),
        images=images,
        weight=float(entry.get("weight", 1)),
    )


def _has_right_types(entry: Mapping[str, Any]) -> bool:
    weight = entry.get("weight", 1)
    return (
        isinstance(entry["data"], str)
        and isinstance(entry.get("images"), str | None)
        and isinstance(weight, int | float)
        and not isinstance(weight, bool)
    )
