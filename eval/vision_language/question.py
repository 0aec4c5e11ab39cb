"""A question about pictures, and what a file of them must hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.models.preprocess import ImageSource


@dataclass(frozen=True, kw_only=True)
class Question:
    """What the model is asked, and what is known of the answer."""

    id: str
    """Unique within its benchmark."""
    prompt: str
    """Everything the model reads but the pictures."""
    images: tuple[ImageSource, ...] = ()
    answers: tuple[str, ...] | None = None
    """The references, for multiple choice the letter; None where only a server knows them."""
    options: tuple[str, ...] = ()
    """Of multiple choice, in the order of their letters."""
    kind: str = ""
    """The group that is scored apart as well, such as POPE's "adversarial"."""


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises FileNotFoundError where there is no such file and ValueError where it is not JSON.
    """
    try:
        return json.loads(_text(path))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); download it again.") from error


def read_json_lines(path: Path) -> list[Any]:
    """Return the values of a file with one JSON value a line; raises what `read_json` raises."""
    values = []
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip():
            try:
                values.append(json.loads(line))
            except ValueError as error:
                raise ValueError(
                    f"{path}, line {number} is not JSON ({error}); download it again."
                ) from error
    return values


def entries(value: Any, names: Sequence[str], path: Path) -> list[dict[str, Any]]:
    """Return `value` if it is a list of objects with these names.

    Raises ValueError otherwise; the sentence names what is not there.
    """
    if not isinstance(value, list):
        raise ValueError(f"{path} holds {type(value).__name__} where a list was expected.")
    for number, entry in enumerate(value):
        missing = [name for name in names if not isinstance(entry, dict) or name not in entry]
        if missing:
            raise ValueError(
                f"{path}: entry {number} has no {missing[0]!r}; give the official file, whose "
                f"entries have {', '.join(names)}."
            )
    return value


def member(value: Any, name: str, path: Path) -> Any:
    """Return `value[name]` of a JSON object; ValueError where it is no object or lacks it."""
    if not isinstance(value, dict) or name not in value:
        raise ValueError(f"{path} has no {name!r} at its top; give the official file.")
    return value[name]


def require_pictures(questions: Sequence[Question]) -> None:
    """Raise FileNotFoundError where a picture is not on the disk, before hours of work."""
    images = (image for question in questions for image in question.images)
    paths = {Path(image) for image in images if isinstance(image, str | Path)}
    missing = sorted(path for path in paths if not path.is_file())
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} pictures are missing, the first is '{missing[0]}'; "
            "unpack them there."
        )


def _text(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"There is no file '{path}'.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not utf-8 text; download it again.") from error
