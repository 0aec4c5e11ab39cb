"""Which option a model chose, and whether an open answer of MMMU is right: as harnesses read it.

Each harness reads a wordy answer in its own way, and figures move by points between them; none of
these is "the" multiple-choice accuracy.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from zoo.eval.vision_language.answer_scores import exact_match

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LEADING_LETTER = re.compile(r"\s*([A-Z])\.")
_THE_ANSWER_IS = re.compile(r"The answer is ([A-E])")
_ENDS_TO_STRIP = ",.!?;:'"
_WORDS_OF_A_SENTENCE = 5


def options_text(options: Sequence[str]) -> str:
    """Return "A. …" and so on, one option a line."""
    return "\n".join(f"{LETTERS[place]}. {option}" for place, option in enumerate(options))


def scienceqa_lmms_eval(answer: str, letter: str) -> float:
    """lmms-eval's ScienceQA: the letter alone in either case, or a capital one and a full stop."""
    answer = answer.strip()
    if answer.lower() == letter.lower():
        return 1.0
    return float(answer[:2] == f"{letter}.")


def scienceqa_llava(answer: str, letter: str) -> float:
    """LLaVA's `eval_science_qa.py`: "B", "B. …" or "The answer is B"; a capital letter."""
    answer = answer.replace("\n", ". ")
    if len(answer.strip()) == 1:
        chosen = answer.strip()
    elif answer[1:3] == ". ":
        chosen = answer[0]
    else:
        said = _THE_ANSWER_IS.search(answer)
        chosen = said.group(1) if said else ""
    return float(chosen == letter)


def seed_match(answer: str, letter: str) -> float:
    """SEED-Bench in lmms-eval: the first character, in either case."""
    return float(answer.strip()[:1].lower() == letter.lower())


def ai2d_match(answer: str, letter: str) -> float:
    """AI2D in lmms-eval: the letter before a leading full stop, else the answer as it is."""
    leading = _LEADING_LETTER.match(answer)
    return exact_match(leading.group(1) if leading else answer, [letter])


def mmmu_choice(answer: str, options: Sequence[str]) -> str | None:
    """Return the letter that MMMU's `parse_multi_choice_response` reads, None where it guesses.

    In turn: "(B)", then "B ", then "B.", then the wording of an option in an answer of more than
    five words; of several the last one said.
    """
    for sign in _ENDS_TO_STRIP:
        answer = answer.strip(sign)
    text = f" {answer} "
    letters = LETTERS[: len(options)]
    # Where a letter is found as "B " or "B.", the place that decides is that of " B ".
    for written, place in (("({})", "({})"), ("{} ", " {} "), ("{}.", " {} ")):
        found = [letter for letter in letters if written.format(letter) in text]
        if found:
            return max(found, key=lambda letter: text.rfind(place.format(letter)))
    if len(text.split()) <= _WORDS_OF_A_SENTENCE:
        return None
    wordings = dict(zip(letters, (option.lower() for option in options), strict=True))
    found = [letter for letter in letters if wordings[letter] in text.lower()]
    return max(found, key=lambda letter: text.lower().rfind(wordings[letter]), default=None)


def mmmu_multiple_choice(answer: str, letter: str, options: Sequence[str], key: str) -> float:
    """1 where the option read is `letter`; where none is, one is drawn, seeded by `key`.

    MMMU draws too, from a generator that the run's order seeds; ours gives the same figure for the
    same answers.
    """
    chosen = mmmu_choice(answer, options)
    if chosen is None:
        chosen = random.Random(key).choice(LETTERS[: len(options)])
    return float(chosen == letter)


def mmmu_open(answer: str, references: Sequence[str]) -> float:
    """1 where a reference stands in what MMMU's `parse_open_response` reads from the answer.

    Numbers match as numbers rounded to two decimals, texts where a reference is part of a phrase.
    """
    values = [value for reference in references for value in _values(reference)]
    said = [value for phrase in _phrases(answer) for value in _values(phrase)]
    return float(any(_matches(value, candidate) for candidate in said for value in values))


def _matches(reference: str | float, candidate: str | float) -> bool:
    if isinstance(candidate, str):
        return isinstance(reference, str) and reference in candidate
    return candidate == reference


_SENTENCE_END = re.compile(r"\.\s(?=[A-Z])|\n")
_CONCLUSIONS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_TRIVIAL = frozenset(":,.!?;'")
_NUMBER_FORMS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),
    re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+"),
    re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"),
)


def _phrases(answer: str) -> list[str]:
    """What follows a conclusion ("so …", "answer …") in each sentence, and every number in it."""
    answer = answer.strip().strip(".").lower()
    sentences = _SENTENCE_END.split(answer)
    phrases = []
    for place, sentence in enumerate(sentences):
        is_last = place == len(sentences) - 1
        conclusions = (*_CONCLUSIONS, "=") if is_last else _CONCLUSIONS
        tails = [sentence.split(word)[-1].strip() for word in conclusions if word in sentence]
        # The first of the shortest; an empty tail gives way to the next, as in the original.
        shortest = ""
        for tail in tails:
            if not shortest or len(tail) < len(shortest):
                shortest = tail
        if shortest and shortest not in _TRIVIAL:
            phrases.append(shortest)
    phrases = phrases or [answer]
    return phrases + [
        number for phrase in phrases for form in _NUMBER_FORMS for number in form.findall(phrase)
    ]


def _values(text: str) -> list[str | float]:
    """A number rounded to two decimals, or the text in lower case; a single letter only as a
    word's beginning or end."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        text = text.lower()
        return [f" {text}", f"{text} "] if len(text) == 1 else [text]
