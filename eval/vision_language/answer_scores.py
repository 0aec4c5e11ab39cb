"""Scores in 0…1 of one free answer, as the harnesses of the published figures compute them."""

from __future__ import annotations

import string
from collections.abc import Sequence

ANLS_THRESHOLD = 0.5
RELAXED_TOLERANCE = 0.05
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def exact_match(answer: str, references: Sequence[str]) -> float:
    """1 where the answer is one of the references but for case and ASCII punctuation.

    lmms-eval's `exact_match` with `ignore_case` and `ignore_punctuation`. Spaces count.
    """
    return float(_without_punctuation(answer) in map(_without_punctuation, references))


def words_match(answer: str, references: Sequence[str]) -> float:
    """1 where the words of the answer are those of a reference, in any case and punctuation."""
    return float(plain(answer) in map(plain, references))


def plain(text: str) -> str:
    """Return `text` in lower case, without ASCII punctuation, one space between words."""
    return " ".join(_without_punctuation(text).split())


def anls(answer: str, references: Sequence[str]) -> float:
    """Average normalised Levenshtein similarity to the nearest reference; 0 below 0.5.

    Biten et al. 2019, equation 1. The distance is over lower-case texts with spaces collapsed, the
    length that divides it over the texts as given (`api/metrics.py` of lmms-eval).
    """
    nearest = min(_normalized_distance(answer, reference) for reference in references)
    similarity = 1 - nearest
    return similarity if similarity >= ANLS_THRESHOLD else 0.0


def relaxed_match(answer: str, reference: str) -> float:
    """1 where a number is within 5 % of the reference, or a text equals it but for case.

    Masry et al. 2022 (ChartQA), section 5.1. "12%" is 0.12; a reference of zero is compared as
    text, as in the code that the harnesses share.
    """
    number, target = _number(answer), _number(reference)
    if number is None or not target:
        return float(answer.lower() == reference.lower())
    return float(abs(number - target) / abs(target) <= RELAXED_TOLERANCE)


def edit_distance(first: str, second: str) -> int:
    """Return the Levenshtein distance: insertions, deletions and substitutions of characters."""
    previous = list(range(len(second) + 1))
    for row, letter in enumerate(first, 1):
        current = [row]
        for column, other in enumerate(second, 1):
            substituted = previous[column - 1] + (letter != other)
            current.append(min(substituted, previous[column] + 1, current[-1] + 1))
        previous = current
    return previous[-1]


def _without_punctuation(text: str) -> str:
    return text.lower().translate(_NO_PUNCTUATION)


def _normalized_distance(answer: str, reference: str) -> float:
    length = max(len(answer), len(reference))
    if not length:
        return 0.0
    return edit_distance(_collapsed(answer), _collapsed(reference)) / length


def _collapsed(text: str) -> str:
    return " ".join(text.lower().split())


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
