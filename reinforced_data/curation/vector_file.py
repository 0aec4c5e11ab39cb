"""The image vectors of a pool in a temporary file, so that memory does not grow with the pool."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from zoo.reinforced_data.curation.pool import OnProgress, Pool, no_progress, unit_length

_ROWS_AT_ONCE = 1 << 14


class VectorFile:
    """One vector a sample, N of D numbers, read as float32.

    They are kept as float16 and brought back to length 1 when they are read: a vector then has the
    cosine 1 - 1e-8 with itself before, where int8 storage left it 1 - 3e-5.
    The file has no name and vanishes when it is closed.
    """

    def __init__(
        self,
        pool: Pool,
        teacher: str,
        *,
        folder: Path | None = None,
        on_progress: OnProgress = no_progress,
    ) -> None:
        """Decode a teacher's image vectors into a file in `folder`, by default the system's.

        Raises ValueError for a teacher that the sidecars lack, OSError for a full disk.
        """
        dimension = pool.teacher(teacher).embed_dim
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 closed by __exit__
        done = 0
        for vectors in pool.image_vectors(teacher):
            self._file.write(vectors.astype(np.float16).data)
            done += len(vectors)
            on_progress("decoding", done, len(pool))
        self._file.flush()
        self._vectors = np.memmap(self._file, np.float16, "r", shape=(done, dimension))

    def __enter__(self) -> VectorFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del self._vectors
        self._file.close()

    @property
    def shape(self) -> tuple[int, int]:
        """N, D."""
        return len(self._vectors), self._vectors.shape[1]

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Return the vectors of some samples: float32 (n, D)."""
        return unit_length(self._vectors[numbers].astype(np.float32))

    def parts(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield all vectors in order, a part at a time, each with the number of its first."""
        for start in range(0, len(self._vectors), _ROWS_AT_ONCE):
            part = self._vectors[start : start + _ROWS_AT_ONCE]
            yield start, unit_length(part.astype(np.float32))
