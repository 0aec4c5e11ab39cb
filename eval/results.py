"""Results as JSON lines: every figure travels with what produced it.

One object a line: `time, command, machine, versions, model, weights_sha256, dataset, protocol,
metrics, units`. Reports are made from these lines alone.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

Record = dict[str, Any]

REQUIRED_KEYS = (
    "time",
    "command",
    "machine",
    "versions",
    "model",
    "weights_sha256",
    "dataset",
    "protocol",
    "metrics",
    "units",
)
VERSIONED_PACKAGES = ("zoo", "torch", "timm", "open_clip_torch", "numpy", "pillow")


def result_record(
    *,
    model: str,
    dataset: str,
    protocol: Mapping[str, Any],
    metrics: Mapping[str, float],
    units: Mapping[str, str],
    weights_sha256: str | None = None,
) -> Record:
    """A record with its provenance filled in, ready for `append_result`.

    `metrics` maps a name to a finite number and `units` the same names to their unit
    ("fraction", "ms", "bytes", ...). `weights_sha256` comes from `weights_sha256()`;
    None where no weights took part.
    """
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line(),
        "machine": machine_info(),
        "versions": package_versions(),
        "model": model,
        "weights_sha256": weights_sha256,
        "dataset": dataset,
        "protocol": dict(protocol),
        "metrics": dict(metrics),
        "units": dict(units),
    }


@dataclass(frozen=True, kw_only=True)
class FractionResult:
    """What a model scored, all figures fractions."""

    model: str
    weights_sha256: str
    dataset: str
    metrics: Mapping[str, float]
    """Fractions 0…1."""
    protocol: Mapping[str, Any]
    """What else the figures depend on."""

    def record(self) -> Record:
        """Return the JSON-lines record."""
        return result_record(
            model=self.model,
            dataset=self.dataset,
            protocol=self.protocol,
            metrics=self.metrics,
            units=dict.fromkeys(self.metrics, "fraction"),
            weights_sha256=self.weights_sha256,
        )


def append_result(path: str | Path, record: Mapping[str, Any]) -> None:
    """Append `record` as one JSON line that is on the disk when the call returns.

    One write under a lock, so that processes sharing the file never mix their lines; a line that
    did not fit on the disk is taken back.

    Raises:
        ValueError: a required key is missing, a metric has no unit, or a value is not JSON
            (NaN and infinity are not).
        OSError: the line could not be written whole.
    """
    path = Path(path)
    line = _encode(record)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _write_line(descriptor, line, path)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_results(path: str | Path) -> list[Record]:
    """Every record of a JSON-lines file, in order; also reads a run's `metrics.jsonl`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not a JSON object; the sentence names the file and the line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: run an evaluation that writes it first.")
    lines = path.read_bytes().split(b"\n")
    return [_decode(line, path, number) for number, line in enumerate(lines, 1) if line.strip()]


def machine_info() -> dict[str, Any]:
    """The machine a figure was measured on: processor, logical cores, torch threads, GPU."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages a figure depends on, those that are installed."""
    versions = {"python": platform.python_version()}
    for package in VERSIONED_PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def command_line() -> str:
    """The command of this process, quoted for a shell, without the folder of the program."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _encode(record: Mapping[str, Any]) -> bytes:
    missing = [key for key in REQUIRED_KEYS if key not in record]
    if missing:
        raise ValueError(f"A result lacks {', '.join(missing)}: make it with `result_record`.")
    without_unit = sorted(set(record["metrics"]) - set(record["units"]))
    if without_unit:
        raise ValueError(f"The metric {without_unit[0]!r} has no unit: name it in `units`.")
    try:
        text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"A result of {record['model']} cannot be written: {error}.") from error
    return text.encode() + b"\n"


def _write_line(descriptor: int, line: bytes, path: Path) -> None:
    size = os.fstat(descriptor).st_size
    # A process killed in mid-write leaves a torn line; ours must not be glued to it.
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        line = b"\n" + line
    written = os.write(descriptor, line)
    if written != len(line):
        os.ftruncate(descriptor, size)
        raise OSError(f"{path} took {written} of {len(line)} bytes: is the disk full?")


def _decode(line: bytes, path: Path, number: int) -> Record:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ValueError(
            f"{path}, line {number} is not JSON ({error}): remove that line and read again."
        ) from error
    if not isinstance(record, dict):
        raise ValueError(f"{path}, line {number} holds {type(record).__name__}, not an object.")
    return record


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
