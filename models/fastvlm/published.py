"""The published FastVLMs: stage 3 from the Hugging Face hub, stage 2 from Apple's archives.

Where they lie: the model cards on the hub, and `get_models.sh` of the original.
"""

from __future__ import annotations

import shutil
import zipfile
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from zoo.models.card import Stage, VisionLanguageCard
from zoo.models.hub import published, published_folder

_ARCHIVES = "https://ml-site.cdn-apple.com/datasets/fastvlm"
_BLOCK = 1 << 20
_TIMEOUT_S = 60
_RANGE_NOT_SATISFIABLE = 416


def published_fastvlm(card: VisionLanguageCard, stage: Stage) -> Path:
    """Return the local folder of a stage's published weights, downloaded once and cached.

    Raises ValueError for a model without published weights and FileNotFoundError when they are
    neither cached nor within reach. `HF_HOME` and `HF_HUB_OFFLINE=1` count for both stages.
    """
    published(card)
    if stage == 3:
        return published_folder(card)
    from huggingface_hub.constants import HF_HOME

    size = card.name.removeprefix("fastvlm-")
    name = f"llava-fastvithd_{size}_stage{stage}"
    return fetch_archive(f"{_ARCHIVES}/{name}.zip", Path(HF_HOME) / "zoo" / name)


def fetch_archive(url: str, folder: Path) -> Path:
    """Return the folder inside a zip archive at `url` that holds a model, unpacked in `folder`.

    Downloads what is not there yet, going on where an earlier attempt ended. `folder` is whole or
    absent. Raises FileNotFoundError where the archive cannot be fetched, and ValueError where it is
    damaged or holds no model.
    """
    if not folder.exists():
        archive = folder.with_name(f"{folder.name}.zip.part")
        archive.parent.mkdir(parents=True, exist_ok=True)
        _download(url, archive)
        _unpack(archive, folder)
    inside = sorted(folder.rglob("config.json"))
    if not inside:
        raise ValueError(f"'{folder}' holds no config.json; remove the folder and try again.")
    return inside[0].parent


def _download(url: str, path: Path) -> None:
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if HF_HUB_OFFLINE:
        raise FileNotFoundError(
            f"'{url}' is not in the local cache, and HF_HUB_OFFLINE=1 forbids the network; "
            "download and unpack it elsewhere and pass weights='path/to/the/folder'."
        )
    start = path.stat().st_size if path.exists() else 0
    try:
        with urlopen(_request(url, start), timeout=_TIMEOUT_S) as answer:
            _write(answer, path, start if answer.status == 206 else 0)
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError) and error.code == _RANGE_NOT_SATISFIABLE:
            return  # all of it is there
        raise FileNotFoundError(
            f"'{url}' could not be fetched ({error}); try again to go on where it ended, or unpack "
            "the archive yourself and pass weights='path/to/the/folder'."
        ) from error


def _request(url: str, start: int) -> Request:
    return Request(url, headers={"Range": f"bytes={start}-"} if start else {})


def _write(answer: Any, path: Path, start: int) -> None:
    """Append to the first `start` bytes what the server sends, with progress."""
    from huggingface_hub.utils import tqdm

    total = start + int(answer.headers.get("Content-Length", 0))
    bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=path.stem)
    with path.open("ab") as file, bar:
        file.truncate(start)
        _copy(answer, file, bar)
    if path.stat().st_size < total:
        raise OSError(f"it ended after {path.stat().st_size} of {total} bytes")


def _copy(answer: Any, file: IO[bytes], bar: Any) -> None:
    while block := answer.read(_BLOCK):
        file.write(block)
        bar.update(len(block))


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack under a temporary name, rename, and remove the archive."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            _refuse_strays(opened, temporary)
            opened.extractall(temporary)
    except (zipfile.BadZipFile, EOFError) as error:
        archive.unlink()
        raise ValueError(
            f"'{archive}' is no sound zip archive ({error}) and was removed; try again."
        ) from error
    temporary.rename(folder)
    archive.unlink()


def _refuse_strays(archive: zipfile.ZipFile, folder: Path) -> None:
    root = folder.resolve()
    for name in archive.namelist():
        if not (root / name).resolve().is_relative_to(root):
            raise ValueError(
                f"'{archive.filename}' holds '{name}', which would land outside of its folder; "
                "remove the file."
            )
