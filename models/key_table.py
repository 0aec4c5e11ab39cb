"""Translation of checkpoint keys by a table that reads the same in both directions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

Transform = Callable[[Tensor], Tensor]


def _same(value: Tensor) -> Tensor:
    return value


@dataclass(frozen=True)
class Rule:
    """One key pattern in our naming and in another.

    `{name}` stands for one component between dots, `{name*}` for any number of them; both
    patterns use the same names. `import_value` turns the other's tensor into ours, `export_value`
    does the reverse.
    """

    ours: str
    theirs: str
    import_value: Transform = _same
    export_value: Transform = _same


class KeyTable:
    """An ordered list of rules; the first that matches a key translates it."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules

    def import_entry(self, key: str, value: Tensor) -> tuple[str, Tensor] | None:
        """Return key and value in our naming, or None for a key that no rule knows."""
        for rule, pattern in self._from_theirs:
            if match := pattern.fullmatch(key):
                return _fill(rule.ours, match.groupdict()), rule.import_value(value)
        return None

    def export_entry(self, key: str, value: Tensor) -> tuple[str, Tensor] | None:
        """Return key and value in the other naming, or None for a key that no rule knows."""
        for rule, pattern in self._from_ours:
            if match := pattern.fullmatch(key):
                return _fill(rule.theirs, match.groupdict()), rule.export_value(value)
        return None

    def import_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a whole state in our naming. A key that no rule knows stays as it is, to be
        reported with the others that do not fit."""
        return dict(self.import_entry(*entry) or entry for entry in state.items())

    def export_state(
        self, state: Mapping[str, Tensor], model: str, naming: str
    ) -> dict[str, Tensor]:
        """Return a whole state of `model` in the other naming, which is called `naming`.

        Raises ValueError for a key that no rule knows.
        """
        entries = {key: self.export_entry(key, value) for key, value in state.items()}
        unknown = [key for key, entry in entries.items() if entry is None]
        if unknown:
            raise ValueError(
                f"{model} has entries without a name in {naming}'s naming, such as "
                f"'{unknown[0]}'; write it in zoo's naming."
            )
        return dict(entry for entry in entries.values() if entry is not None)

    @cached_property
    def _from_theirs(self) -> list[tuple[Rule, re.Pattern[str]]]:
        return [(rule, _compile(rule.theirs)) for rule in self.rules]

    @cached_property
    def _from_ours(self) -> list[tuple[Rule, re.Pattern[str]]]:
        return [(rule, _compile(rule.ours)) for rule in self.rules]


def _compile(template: str) -> re.Pattern[str]:
    pattern = re.escape(template)
    pattern = re.sub(r"\\{(\w+)\\\*\\}", r"(?P<\1>.+)", pattern)
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^.]+)", pattern))


def _fill(template: str, values: Mapping[str, str]) -> str:
    return re.sub(r"{(\w+)\*?}", lambda match: values[match.group(1)], template)
