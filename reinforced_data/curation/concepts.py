"""Which concepts a caption names: an inverted index over lemmas of one or several words."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

_WORD = re.compile(r"[^\W_]+")
_SIBILANTS = ("s", "x", "z", "ch", "sh")
_IRREGULAR = {
    "men": "man",
    "women": "woman",
    "children": "child",
    "people": "person",
    "mice": "mouse",
    "geese": "goose",
    "feet": "foot",
    "teeth": "tooth",
    "wolves": "wolf",
    "knives": "knife",
    "leaves": "leaf",
    "shelves": "shelf",
}
_VOCABULARY = 1 << 20


@lru_cache(_VOCABULARY)
def lemma(word: str) -> str:
    """Return what a lower-case English noun and its plural have in common.

    Not always a word: "horse" and "horses" give "hors". Words of other languages only need to
    stay themselves, which they do unless they end like an English plural.
    """
    word = _IRREGULAR.get(word, word)
    if len(word) <= 3 or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith(("ies", "ie")) and len(word) > 4:
        return word.removesuffix("s").removesuffix("ie") + "y"
    if word.endswith("s"):
        word = word[:-1]
    if word.endswith("e") and word[:-1].endswith(_SIBILANTS) and len(word) > 3:
        word = word[:-1]
    return word


class ConceptIndex:
    """Finds the concepts that texts name: words in their order, in singular or plural."""

    def __init__(self, concepts: Sequence[str]) -> None:
        """Take concepts of one or several words, such as "fire truck".

        Raises ValueError when there are none, or one has no letter or digit.
        """
        if not concepts:
            raise ValueError("The list of concepts is empty; give one a line.")
        self.concepts = tuple(concepts)
        self._numbers: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for number, concept in enumerate(self.concepts):
            lemmas = _lemmas(concept)
            if not lemmas:
                raise ValueError(f"The concept {concept!r} has no letters; remove it.")
            self._numbers[lemmas].append(number)
        longest = max(map(len, self._numbers))
        self._lengths = [
            n for n in range(1, longest + 1) if any(len(k) == n for k in self._numbers)
        ]

    def find(self, texts: Sequence[str]) -> set[int]:
        """Return the numbers of the concepts that any of some texts names.

        A concept inside a longer one counts too: "polar bear" names "bear".
        """
        found: set[int] = set()
        for text in texts:
            lemmas = _lemmas(text)
            for length in self._lengths:
                for start in range(len(lemmas) - length + 1):
                    found.update(self._numbers.get(lemmas[start : start + length], ()))
        return found


def imagenet_concepts() -> list[str]:
    """Return the names of the ImageNet classes, as open_clip words them."""
    from open_clip import IMAGENET_CLASSNAMES

    return list(dict.fromkeys(IMAGENET_CLASSNAMES))


def _lemmas(text: str) -> tuple[str, ...]:
    return tuple(map(lemma, _WORD.findall(text.lower())))
