"""Which shards a folder, file, glob or brace pattern names."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

PIPE = "pipe:"


def find_shards(spec: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return the shards that `spec` names, sorted, each once.

    `spec` is a folder (its `*.tar`), a file, a glob (`data/*.tar`), a brace pattern
    (`data/{00000..00009}.tar`) or a sequence of these. Raises ValueError when a folder, a glob or
    any single name of a brace pattern matches nothing, and for a URL, of which `remote.download`
    makes a local copy.
    """
    specs = [spec] if isinstance(spec, str | Path) else list(spec)
    if not specs:
        raise ValueError("The list of shards is empty; name a folder, file, glob or brace pattern.")
    return sorted({path for one in specs for path in _expand(str(one))})


def _expand(spec: str) -> list[Path]:
    if is_url(spec):
        raise ValueError(
            f"{spec!r} is a URL, and this reads local files; copy its shards here first."
        )
    path = Path(spec).expanduser()
    if path.is_dir():
        return _or_error(sorted(path.glob("*.tar")), f"The folder {path} holds no *.tar file")
    if path.exists():
        return [path]
    return [found for pattern in expand_braces(str(path)) for found in _expand_glob(pattern)]


def is_url(spec: str) -> bool:
    """Say whether `spec` is a URL (`s3://…`) or a command (`pipe:…`), and not a path."""
    return spec.startswith(PIPE) or "://" in spec


def expand_braces(pattern: str) -> list[str]:
    """Return the names of `{00000..00009}.tar`; ValueError for braces that do not match."""
    from braceexpand import braceexpand

    try:
        return list(braceexpand(pattern))
    except ValueError as error:
        raise ValueError(f"The shard pattern {pattern!r} has unbalanced braces.") from error


def _expand_glob(pattern: str) -> list[Path]:
    # A name without wildcards comes back only if it exists, so both cases are one.
    found = [Path(pattern)] if Path(pattern).exists() else sorted(map(Path, glob.glob(pattern)))
    return _or_error(found, f"No shard is named or matched by {pattern!r}")


def _or_error(paths: list[Path], problem: str) -> list[Path]:
    if not paths:
        raise ValueError(f"{problem}; expected a folder, file, glob or brace pattern of tar files.")
    return paths
