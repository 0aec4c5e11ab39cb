"""Samples that cannot be used: the first are reported, all are counted."""

from __future__ import annotations

import logging

REPORTED = 20
"""Lines of a log about samples; further ones are only counted."""

_logger = logging.getLogger(__name__)


class Problems:
    """Counts samples and says of the first ones what is wrong."""

    def __init__(self, what: str, *, silent: bool = False) -> None:
        """`what` is done with them; `silent` where another process says the same."""
        self._what, self._silent = what, silent
        self.count = 0
        self.last = ""
        """The sentence of the last one."""

    def add(self, sentence: str) -> None:
        """Count a sample; `sentence` names it and says what is wrong."""
        self.count, self.last = self.count + 1, sentence
        if self._silent or self.count > REPORTED:
            return
        _logger.warning("%s %s", sentence, self._what)
        if self.count == REPORTED:
            _logger.warning("Further samples like these are counted and not reported.")
