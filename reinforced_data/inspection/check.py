"""`zoo data check`: everything about shards and sidecars that would go wrong later, found now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from zoo.reinforced_data.inspection.check_sidecar import check_sidecar
from zoo.reinforced_data.inspection.finding import Finding
from zoo.reinforced_data.inspection.webdataset_view import webdataset_losses
from zoo.reinforced_data.shards.index import content_digest
from zoo.reinforced_data.shards.read import group_members, is_visible, read_member
from zoo.reinforced_data.shards.salvage import salvage_members
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.tar_index import DamagedTarError, Member
from zoo.reinforced_data.shards.usable import usable_sample
from zoo.reinforced_data.sidecars.sidecar import sidecar_path

_REPAIR = "`zoo data repair` writes a sound copy."
_REPLACE = "Replace it, or leave it out: `zoo data repair` writes a copy without it."


@dataclass(frozen=True, kw_only=True)
class ShardCheck:
    """The result of one shard."""

    shard: Path
    samples: int
    """Samples of the shard, unusable ones too."""
    has_sidecar: bool
    findings: tuple[Finding, ...]


def check_shards(shards: Sequence[Path], *, workers: int = 0) -> Iterator[ShardCheck]:
    """Check shards and the sidecars beside them, and yield each result in the order of `shards`.

    Every header, member and picture is read and decoded; nothing is written. `workers` is the
    number of processes beside this one, 0 for none.
    """
    if workers < 0:
        raise ValueError(f"workers is {workers}; give 0 or more.")
    if workers == 0:
        yield from map(check_shard, shards)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(check_shard, shards)


def check_shard(shard: Path) -> ShardCheck:
    """Check one shard and the sidecar beside it, if there is one."""
    members, damages = salvage_members(shard)
    findings = [_damage(shard, damage, members) for damage in damages]
    visible = [member for member in members if is_visible(member.name)]
    groups, problems = group_members(shard, visible) if visible else ({}, {})
    if not groups and not damages:
        findings.append(_empty(shard))
    findings += webdataset_losses(shard, visible, groups)
    digests: dict[str, bytes] = {}
    with_captions: set[str] = set()
    for key, data in _contents(shard, groups):
        digests[key] = b"" if key in problems else content_digest(data)
        try:
            sample = _usable(shard, key, data, problems)
            with_captions.update([key] if sample.captions else [])
        except ValueError as error:
            findings.append(_unusable(shard, key, str(error)))
    sidecar = sidecar_path(shard)
    if sidecar.exists():
        findings += check_sidecar(sidecar, shard, digests, with_captions)
    return ShardCheck(
        shard=shard,
        samples=len(groups),
        has_sidecar=sidecar.exists(),
        findings=tuple(findings),
    )


def _contents(
    shard: Path, groups: Mapping[str, Mapping[str, Member]]
) -> Iterator[tuple[str, dict[str, bytes]]]:
    with shard.open("rb") as file:
        for key, group in groups.items():
            yield key, {suffix: read_member(shard, file, m) for suffix, m in group.items()}


def _usable(
    shard: Path, key: str, data: Mapping[str, bytes], problems: Mapping[str, str]
) -> Sample:
    if key in problems:
        raise ValueError(problems[key])
    return usable_sample(f"Sample {key!r} of shard {shard}", key, data)


def _damage(shard: Path, damage: DamagedTarError, members: Sequence[Member]) -> Finding:
    behind = sum(member.offset > damage.offset for member in members)
    silent = damage.looks_like_end and behind > 0
    lost = f" webdataset drops the {behind} members behind it without a word." if silent else ""
    return Finding(file=shard, key=None, kind="tar", what=f"{damage}{lost}", advice=_REPAIR)


def _empty(shard: Path) -> Finding:
    return Finding(
        file=shard,
        key=None,
        kind="tar",
        what=f"Shard {shard} holds no samples.",
        advice="Remove it, or write it again.",
    )


def _unusable(shard: Path, key: str, what: str) -> Finding:
    return Finding(file=shard, key=key, kind="sample", what=what, advice=_REPLACE)
