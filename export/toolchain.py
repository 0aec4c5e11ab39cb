"""coremltools, imported where it is needed and quiet about what does not matter here."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partialmethod
from types import ModuleType

import torch

_HARMLESS = (
    "has not been tested with coremltools",  # newer torch; every export is verified from its file
    "Failed to load _ML",  # Apple's runtime, which exists on macOS only
    "Disabling scikit-learn conversion API",
    "Saving value type of int64 into a builtin type of int32",  # positions, all below 2^31
    "Tuple detected at graph output",  # a package with several outputs
    "Model is not in eval mode",  # a traced module reports that even in eval mode
)


def import_coremltools() -> ModuleType:
    """Return coremltools, without the messages that it logs on every start off a Mac.

    Raises ValueError where it is not installed.
    """
    logging.getLogger("coremltools").addFilter(_is_news)  # adding it twice changes nothing
    try:
        import coremltools
    except ModuleNotFoundError as error:
        if error.name != "coremltools":
            raise
        raise ValueError(
            'Core ML packages need coremltools; install it with: pip install "zoo[export]"'
        ) from error
    return coremltools


def _is_news(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return not any(part in message for part in _HARMLESS)


@contextmanager
def quiet_conversion() -> Iterator[None]:
    """Run a block without coremltools' progress bars and torch's notes about tracing."""
    from tqdm import tqdm

    show = tqdm.__init__
    tqdm.__init__ = partialmethod(show, disable=True)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message=r".*torch\.jit\.trace", category=FutureWarning
            )
            # numpy announces what the pinned numpy<2.4 still allows.
            warnings.filterwarnings("ignore", category=DeprecationWarning, module="coremltools")
            # Shapes are fixed on purpose: a package has one input size.
            warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # pyright: ignore[reportPrivateImportUsage]
            yield
    finally:
        tqdm.__init__ = show
