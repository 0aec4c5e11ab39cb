"""A hash of the weight file inside the package, so that damage shows however small it is.

Executing a package does not show it: 4 KB of zeros among the 23 MB of an MCi0 tower change its
features by no more than rounding to float16 does, at half of the places tried.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

PROGRAM_FILE = "Data/com.apple.CoreML/model.mlmodel"
WEIGHT_FILE = "Data/com.apple.CoreML/weights/weight.bin"
_KEY = "zoo.weight_file_sha256"


def seal_weights(package: Path) -> None:
    """Write the hash of the weight file into the metadata of a saved package, in place."""
    import coremltools

    spec: Any = coremltools.utils.load_spec(str(package))
    spec.description.metadata.userDefined[_KEY] = _hash_file(package / WEIGHT_FILE)
    (package / PROGRAM_FILE).write_bytes(spec.SerializeToString())


def check_seal(package: Path, spec: Any) -> None:
    """Raise ValueError where the package has a seal and its weight file is another."""
    sealed = spec.description.metadata.userDefined.get(_KEY)
    if sealed and sealed != _hash_file(package / WEIGHT_FILE):
        raise ValueError("its weight file changed after the export")


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
