"""Lists of concepts and queries in text files."""

from __future__ import annotations

from pathlib import Path


def read_list(path: Path) -> list[str]:
    """Return the lines of a utf-8 text file, each once, empty ones left out.

    Raises FileNotFoundError, or ValueError for a file that is not utf-8 text.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no list '{path}'; give a text file, an entry a line.")
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"'{path}' is not utf-8 text; give an entry a line.") from error
    return list(dict.fromkeys(" ".join(line.split()) for line in lines if line.strip()))
