"""Which process may write a sidecar."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class SidecarLock:
    """The right to write one sidecar: held by one process at a time.

    A lock of the kernel on `.NAME.lock` beside the sidecar, which ends with the process, whatever
    ends it. The file is removed by the holder, so none is left but by a killed process.
    """

    def __init__(self, sidecar: Path) -> None:
        self._path = sidecar.with_name(f".{sidecar.name.removesuffix('.safetensors')}.lock")
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock if nobody holds it; never waits. OSError where no file can be made."""
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            # Its holder may have removed the file since it was opened here: then it locks nothing.
            if os.fstat(descriptor).st_nlink:
                self._descriptor = descriptor
                return True
            os.close(descriptor)

    def sweep(self) -> None:
        """Remove the file that a killed holder left, if it did."""
        if self._path.exists() and self.acquire():
            self.release()

    def release(self) -> None:
        """Remove the file, then let the next one in; nothing happens without the lock."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None
