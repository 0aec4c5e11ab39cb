"""What webdataset 1.0.2 makes of a shard, where it is not what the shard holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from zoo.reinforced_data.inspection.finding import Finding
from zoo.reinforced_data.shards.tar_index import Member

_ADVICE = "zoo reads it whole; for webdataset, `zoo data repair` writes a copy with its members {}."


def webdataset_losses(
    shard: Path, members: Sequence[Member], groups: Mapping[str, Mapping[str, Member]]
) -> Iterator[Finding]:
    """Yield a finding for each sample that webdataset would split, or merge with another.

    `members`: those that belong to samples, in the order of the tar; `groups`: by key and suffix.
    It cuts a key at the first dot of the file's name, and begins a sample whenever that key changes
    from one member to the next (`webdataset/tariterators.py`, `group_by_keys`).
    """
    runs = _runs(members)
    for key, group in groups.items():
        name = f"Sample {key!r} of shard {shard}"
        theirs = {cut_key(member.name) for member in group.values()}
        if theirs != {key}:
            what = f"{name} is {' and '.join(map(repr, sorted(theirs)))} in webdataset, which cuts "
            what += "keys at the first dot and merges those that are then the same."
            yield _finding(shard, key, what, "under a key without dots")
        parts = len({runs[member.offset] for member in group.values()})
        if parts > 1:
            what = f"{name} comes apart into {parts} samples in webdataset: its members do not lie "
            what += "side by side."
            yield _finding(shard, key, what, "together")


def cut_key(name: str) -> str:
    """Return webdataset's key of a member: its name up to the first dot behind the last slash."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _runs(members: Sequence[Member]) -> dict[int, int]:
    """Number of the run of equal webdataset keys that a member lies in, by its offset."""
    runs = groupby(members, key=lambda member: cut_key(member.name))
    return {member.offset: number for number, (_, run) in enumerate(runs) for member in run}


def _finding(shard: Path, key: str, what: str, how: str) -> Finding:
    advice = _ADVICE.format(how)
    return Finding(file=shard, key=key, kind="webdataset", what=what, advice=advice)
