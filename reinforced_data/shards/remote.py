"""Shards at a URL: named, copied here, written back.

fsspec for the protocols that it knows (`s3://`, `gs://`, `https://`, `hf://`, `file://`, …),
webdataset's `pipe:` for everything that a shell command can read or write.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zoo.reinforced_data.shards.find import PIPE, expand_braces, find_shards, is_url
from zoo.reinforced_data.shards.whole_file import whole_file

__all__ = ["download", "expand_urls", "find_locations", "is_url", "shard_name", "upload"]

_NAME = re.compile(r"[^/\s?#=|;'\"]+\.(?:tar|safetensors)\b")


def expand_urls(spec: str) -> list[str]:
    """Return the URLs that `spec` names, sorted, each once.

    Braces (`s3://data/{00000..00009}.tar`) are expanded for every protocol; `*` and `[…]`, and a
    name that ends with `/` (its `*.tar`), where the store can list its files. Raises ValueError
    when a pattern matches nothing.
    """
    return sorted({url for pattern in expand_braces(spec) for url in _listed(pattern)})


def find_locations(spec: str | Path | Sequence[str | Path]) -> list[Path | str]:
    """Return the shards that `spec` names: the paths of `find_shards`, then `expand_urls`, sorted.

    Raises ValueError when a path, a pattern or the list itself matches nothing.
    """
    specs = [spec] if isinstance(spec, str | Path) else list(spec)
    urls = {url for one in specs if is_url(str(one)) for url in expand_urls(str(one))}
    local = [one for one in specs if not is_url(str(one))]
    return [*(find_shards(local) if local or not urls else []), *sorted(urls)]


def shard_name(path_or_url: str | Path) -> str:
    """Return the file name of a shard or sidecar: `00000.tar` of `s3://data/00000.tar?version=2`.

    Of a `pipe:` command, the last name of a tar in it. Raises ValueError without such a name.
    """
    spec = str(path_or_url)
    if not is_url(spec):
        return Path(spec).name
    return _find_name(spec).group()


def download(url: str, folder: Path) -> Path:
    """Return a copy of the file at `url` below `folder`, made unless a whole one is there.

    Files of one folder of a store lie together, and apart from those of another: their folder here
    is named by a hash of where they come from. The copy appears only when it is whole, once even if
    several processes ask for it, and is made again when the store says another size. Raises
    FileNotFoundError, or OSError when the store or the command fails.
    """
    name = _find_name(url)
    source = hashlib.blake2b(url[: name.start()].encode(), digest_size=6).hexdigest()
    target = folder / source / name.group()
    target.parent.mkdir(parents=True, exist_ok=True)

    from filelock import FileLock

    with FileLock(target.with_name(f".{target.name}.lock")):
        if url.startswith(PIPE):
            if not target.exists():
                _read_pipe(url, target)
        else:
            _read_store(url, target)
    return target


def upload(path: Path, url: str) -> None:
    """Copy the file `path` to `url`; stores show it only when it is whole.

    Raises ValueError for `http(s)://`, which has no agreed way to write, and OSError when the store
    or the command fails.
    """
    if url.startswith(PIPE):
        _write_pipe(path, url)
        return
    if url.startswith(("http://", "https://")):
        raise ValueError(
            f"Nothing can be written to {url!r}; give a store such as s3://… or file:."
        )
    store, place = _store(url)
    if "file" in _protocols(store):
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        with whole_file(Path(place)) as temporary:
            shutil.copyfile(path, temporary)
    else:
        store.put_file(str(path), place)  # an object appears when its last byte is there


def _listed(pattern: str) -> list[str]:
    if pattern.startswith(PIPE) or not (pattern.endswith("/") or set("*[") & set(pattern)):
        return [pattern]
    store, place = _store(pattern)
    found = store.glob(f"{place.rstrip('/')}/*.tar" if pattern.endswith("/") else place)
    if not found:
        raise ValueError(f"No shard is matched by {pattern!r}; check the URL.")
    return [store.unstrip_protocol(path) for path in found]


def _find_name(url: str) -> re.Match[str]:
    names = list(_NAME.finditer(url))
    if not names:
        raise ValueError(f"{url!r} names no .tar; expected a URL of a shard, such as s3://a/0.tar.")
    return names[-1]


def _read_store(url: str, target: Path) -> None:
    store, place = _store(url)
    try:
        size = store.info(place).get("size")
        if target.exists() and size in (None, target.stat().st_size):
            return
        with whole_file(target) as temporary:
            store.get_file(place, str(temporary))
            received = temporary.stat().st_size
            if size not in (None, received):
                raise OSError(f"{received} of {size} bytes came")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is nothing at {url!r}; check the URL.") from error
    except _failures(store) as error:
        raise OSError(f"{url!r} could not be read ({error}); try again.") from error


def _failures(store: Any) -> tuple[type[Exception], ...]:
    if not {"http", "https"}.intersection(_protocols(store)):
        return (OSError,)
    from aiohttp import ClientError  # what fsspec lets through, and no OSError

    return OSError, ClientError


def _store(url: str) -> tuple[Any, str]:
    """fsspec's file system of a URL, and the path in it."""
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ValueError(f"{url!r} cannot be opened: {error}.") from error


def _protocols(store: Any) -> tuple[str, ...]:
    return (store.protocol,) if isinstance(store.protocol, str) else tuple(store.protocol)


def _read_pipe(url: str, target: Path) -> None:
    with whole_file(target) as temporary, temporary.open("wb") as file:
        with _pipe(url, "rb") as stream:
            shutil.copyfileobj(stream, file)
        if file.tell() == 0:
            raise OSError(f"The command {url!r} gave no bytes; run it by hand to see why.")


def _write_pipe(path: Path, url: str) -> None:
    with path.open("rb") as file, _pipe(url, "wb") as stream:
        shutil.copyfileobj(file, stream)


@contextmanager
def _pipe(url: str, mode: str) -> Iterator[Any]:
    from webdataset.gopen import gopen

    try:
        with gopen(url, mode) as stream:
            yield stream
    except OSError as error:
        raise OSError(
            f"The command {url!r} failed ({error}); run it by hand to see why."
        ) from error
