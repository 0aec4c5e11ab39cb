"""Where shards are read and sidecars are written: folders, or any URL that can be copied from."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.reinforced_data.shards.remote import download, find_locations, is_url, shard_name, upload
from zoo.reinforced_data.sidecars.header import SidecarHeader
from zoo.reinforced_data.sidecars.sidecar import sidecar_path
from zoo.reinforced_data.sidecars.tensor_file import read_metadata


@dataclass(frozen=True)
class ShardTask:
    """A shard, and where its sidecar belongs."""

    number: int
    """Place among the shards of the run."""
    shard: Path | str
    """Path or URL."""
    sidecar: Path | str
    """Path or URL."""
    outdated: Hashable = None
    """Version of the sidecar that is to be made anew, None to keep what is there."""

    @property
    def size(self) -> int:
        """Bytes of a local shard; 1 for a URL, of which it is not known."""
        return 1 if isinstance(self.shard, str) else self.shard.stat().st_size

    def stored_header(self) -> SidecarHeader | None:
        """Read the header of the sidecar; None where there is none to be kept.

        Raises ValueError for a damaged header or a file that is no sidecar.
        """
        version = _version(self.sidecar)
        if version is None or version == self.outdated:
            return None
        return SidecarHeader.from_metadata(read_metadata(self.sidecar), self.sidecar)


class Workplace:
    """The local files of one task: those of a URL are copies in a folder of their own."""

    def __init__(self, task: ShardTask, folder: Path) -> None:
        """Use a subfolder of `folder`, named by the sidecar's URL, if anything is at a URL."""
        self.task = task
        name = hashlib.blake2b(str(task.sidecar).encode(), digest_size=8).hexdigest()
        self._copies = folder / name
        self._is_local = isinstance(task.sidecar, Path)
        self.sidecar = (
            task.sidecar
            if isinstance(task.sidecar, Path)
            else folder / f"{name}-{shard_name(task.sidecar)}"
        )
        """Where the sidecar is written before it goes to its URL."""
        self.sidecar.parent.mkdir(parents=True, exist_ok=True)

    def shard(self) -> Path:
        """Return the shard, copied here if it is at a URL."""
        return self._local(self.task.shard)

    def stored_sidecar(self) -> Path:
        """Return the sidecar that is there, copied here if it is at a URL."""
        return self._local(self.task.sidecar)

    def publish(self) -> None:
        """Put the sidecar that was written to where it belongs."""
        if isinstance(self.task.sidecar, str):
            upload(self.sidecar, self.task.sidecar)

    def clear(self) -> None:
        """Remove the copies."""
        shutil.rmtree(self._copies, ignore_errors=True)
        if not self._is_local:
            self.sidecar.unlink(missing_ok=True)

    def _local(self, place: Path | str) -> Path:
        return place if isinstance(place, Path) else download(place, self._copies)


def find_tasks(
    shards: str | Path | Sequence[str | Path],
    *,
    output: str | Path | None,
    overwrite: bool,
) -> list[ShardTask]:
    """Return a task for every shard that `shards` names, sorted.

    `output` is the folder or URL of the sidecars, None for beside the shards. Raises ValueError
    when nothing matches, when a shard at a URL has no output, and when two would share a sidecar.
    """
    tasks = []
    for number, shard in enumerate(find_locations(shards)):
        sidecar = _sidecar_place(shard, output)
        outdated = _version(sidecar) if overwrite else None
        tasks.append(ShardTask(number, shard, sidecar, outdated))
    check_distinct(tasks)
    return tasks


def _sidecar_place(shard: Path | str, output: str | Path | None) -> Path | str:
    name = sidecar_path(shard_name(shard)).name
    if output is None:
        if isinstance(shard, str):
            raise ValueError(f"{shard!r} is a URL; name an output folder or URL for the sidecars.")
        return shard.with_name(name)
    if is_url(str(output)):
        return f"{str(output).rstrip('/')}/{name}"
    return Path(output).expanduser() / name


def check_distinct(tasks: Sequence[ShardTask]) -> None:
    """Raise ValueError when two shards would share a sidecar."""
    shards: dict[Path | str, Path | str] = {}
    for task in tasks:
        other = shards.setdefault(task.sidecar, task.shard)
        if other != task.shard:
            raise ValueError(
                f"'{other}' and '{task.shard}' would share the sidecar '{task.sidecar}'; "
                "reinforce them into different outputs."
            )


def _version(place: Path | str) -> Hashable:
    """Something that changes when the file is written again; None where there is none."""
    if isinstance(place, Path):
        if not place.exists():
            return None
        status = place.stat()
        return status.st_ino, status.st_mtime_ns
    from fsspec.core import url_to_fs

    found: tuple[Any, str] = url_to_fs(place)
    store, path = found
    return store.ukey(path) if store.exists(path) else None
