"""What is still to compute for a shard, given the sidecar that is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zoo.reinforced_data.engine.settings import Reinforcement
from zoo.reinforced_data.engine.teachers import Teacher
from zoo.reinforced_data.sidecars.header import SidecarHeader, TeacherInfo

_SETTINGS = ("augmentation", "augmentations", "seed")
_CAPTIONS = ("captions", "captioner")


@dataclass(frozen=True)
class Plan:
    """What a shard lacks; what its sidecar holds already is kept as it is."""

    header: SidecarHeader
    """Of the sidecar to be written, still without the properties of the shard."""
    image_teachers: tuple[Teacher, ...]
    """Those that look at the views."""
    text_teachers: tuple[Teacher, ...]
    """Those that read the captions."""
    writes_captions: bool

    @property
    def complete(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.image_teachers or self.text_teachers or self.writes_captions)


def make_plan(stored: SidecarHeader | None, settings: Reinforcement, place: Path | str) -> Plan:
    """Compare what is asked for with the header `stored` at `place`; None where there is none.

    The teachers of a sidecar stay in it, whether they are asked for again or not; new ones are
    put behind them. Captions are added to a sidecar that has none when all of its teachers, which
    have to read them, are asked for. Raises ValueError when anything else differs.
    """
    asked = settings.header
    if stored is None:
        if settings.extend:
            raise ValueError(f"There is no '{place}' to extend; make it without extend first.")
        teachers = tuple(settings.teachers)
        return Plan(asked, teachers, teachers, settings.captioner is not None)
    if not settings.extend:
        _check_same(_SETTINGS, stored, asked, place)
    adds_captions = not settings.extend and asked.captions > 0 and stored.captions == 0
    if adds_captions:
        _check_all_asked(stored.teachers, settings.teachers, place)
    elif not settings.extend:
        _check_same(_CAPTIONS, stored, asked, place)
    new = _new_teachers(stored.teachers, settings, place)
    of_captions = asked if adds_captions else stored
    names = {teacher.name for teacher in new}
    header = replace(
        stored,
        captions=of_captions.captions,
        captioner=of_captions.captioner,
        teachers=(*stored.teachers, *(info for info in asked.teachers if info.name in names)),
        packages=asked.packages,
    )
    return Plan(header, new, tuple(settings.teachers) if adds_captions else new, adds_captions)


def _check_same(
    names: Sequence[str], stored: SidecarHeader, asked: SidecarHeader, place: Path | str
) -> None:
    for name in names:
        _check_equal(name, getattr(stored, name), getattr(asked, name), place)


def _check_equal(name: str, before: object, now: object, place: Path | str) -> None:
    if before != now:
        raise ValueError(
            f"'{place}' was made with {name} = {before}, but {now} is asked for; "
            "ask for the same, extend it or overwrite it."
        )


def _check_all_asked(
    stored: Sequence[TeacherInfo], asked: Sequence[Teacher], place: Path | str
) -> None:
    missing = [info.name for info in stored if info.name not in {one.name for one in asked}]
    if missing:
        raise ValueError(
            f"'{place}' has no captions yet, and its teacher '{missing[0]}' would have to read "
            f"them; name '{missing[0]}' among the teachers too."
        )


def _new_teachers(
    stored: Sequence[TeacherInfo], settings: Reinforcement, place: Path | str
) -> tuple[Teacher, ...]:
    """Those that are not stored; ValueError when one of the same name is another."""
    infos = {info.name: info for info in stored}
    new = []
    for teacher, now in zip(settings.teachers, settings.teacher_infos, strict=True):
        if teacher.name not in infos:
            new.append(teacher)
        else:
            _check_equal(f"teacher '{teacher.name}'", infos[teacher.name], now, place)
    return tuple(new)
