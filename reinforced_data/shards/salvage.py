"""What can still be read of a damaged tar."""

from __future__ import annotations

from pathlib import Path

from zoo.reinforced_data.shards.tar_header import BLOCK, parse_header
from zoo.reinforced_data.shards.tar_index import DamagedTarError, Member, TarWalk

_CHUNK = 2048 * BLOCK


def salvage_members(path: Path) -> tuple[list[Member], list[DamagedTarError]]:
    """List the regular files of a tar, and every damage of it in order; never raises for one.

    Behind a damage, reading goes on at the next block of 512 bytes that is a header with the right
    checksum. A file that is not there whole is not listed.
    """
    members: list[Member] = []
    damages: list[DamagedTarError] = []
    with path.open("rb") as file:
        walk = TarWalk(path, file)
        offset: int | None = 0
        while offset is not None:
            try:
                for member in walk.members(offset):
                    members.append(member)
                offset = None
            except DamagedTarError as damage:
                damages.append(damage)
                offset = _next_header(walk, damage.offset + BLOCK)
    return members, damages


def _next_header(walk: TarWalk, offset: int) -> int | None:
    for start in range(offset, walk.size, _CHUNK):
        chunk = walk.read(start, _CHUNK)
        for place in range(0, len(chunk) - BLOCK + 1, BLOCK):
            if parse_header(chunk[place : place + BLOCK]) is not None:
                return start + place
    return None
