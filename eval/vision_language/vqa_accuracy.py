"""VQA accuracy: the share of ten people who gave the model's answer, both made comparable first.

Antol et al. 2015 and https://visualqa.org/evaluation.html. The normalisation is the one that the
harnesses run, oddities included, since a figure is comparable only with the same: "EvalAI"
(`EvalAIAnswerProcessor` of Pythia, used for TextVQA by LLaVA and lmms-eval) and its second half
alone (VQAv2 in lmms-eval).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

Normalizer = Callable[[str], str]

ANSWERS_FOR_FULL_SCORE = 3
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_ARTICLES = frozenset(("a", "an", "the"))
_NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_DIGITS = {"none": "0"} | {word: str(value) for value, word in enumerate(_NUMBERS)}
_COMMA_IN_NUMBER = re.compile(r"(?<=\d),+(?=\d)")
_PERIOD = re.compile(r"\.(?!\d)")
# The original passes `re.UNICODE`, which is 32, in the place of `count`.
_PERIODS_REMOVED = 32

_CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
    haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've
    might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
    shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
    someone's something'd something'd've something'll that's there'd there'd've there're there's
    they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're
    what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're
    why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're
    you've
"""


def _contractions() -> dict[str, str]:
    """A contraction with one of its apostrophes forgotten → the contraction."""
    table = {
        word[:place] + word[place + 1 :]: word
        for word in _CONTRACTED.split()
        for place, letter in enumerate(word)
        if letter == "'"
    }
    # The one entry of the original that goes the other way.
    return table | {"somebody'd": "somebodyd"}


_CONTRACTIONS = _contractions()


def vqa_accuracy(answer: str, references: Sequence[str], normalize: Normalizer) -> float:
    """Return the mean over the references of min(1, matches among the others / 3), in 0…1.

    Every reference is left out once, as the official evaluation does, so that an answer that
    exactly three of ten people gave scores 0.9.
    """
    given = normalize(answer)
    matches = [normalize(reference) == given for reference in references]
    total = sum(matches)
    scores = [min(1.0, (total - match) / ANSWERS_FOR_FULL_SCORE) for match in matches]
    return sum(scores) / len(scores)


def normalize_textvqa(text: str) -> str:
    """Return `text` as the whole EvalAI processor makes it."""
    words = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    return normalize_vqav2(words)


def normalize_vqav2(text: str) -> str:
    """Return `text` without punctuation and articles, numbers up to ten in digits."""
    text = text.replace("\n", " ").replace("\t", " ").strip()
    words = (_DIGITS.get(word, word) for word in _without_punctuation(text).lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def _without_punctuation(text: str) -> str:
    """A sign between two words becomes a space; at the edge of one, or beside a number with
    thousands separators, it goes without trace."""
    has_long_number = _COMMA_IN_NUMBER.search(text) is not None
    result = text
    for sign in _PUNCTUATION:
        at_an_edge = f"{sign} " in text or f" {sign}" in text
        result = result.replace(sign, "" if at_an_edge or has_long_number else " ")
    return _PERIOD.sub("", result, count=_PERIODS_REMOVED)
