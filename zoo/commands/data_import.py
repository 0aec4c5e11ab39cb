"""`zoo data import`."""

from __future__ import annotations

from typing import Annotated, Literal

import tyro

from zoo.commands.console import duration, say, status
from zoo.commands.reinforce import show_progress
from zoo.reinforced_data.datacompdr.import_shard import ImportSettings
from zoo.reinforced_data.datacompdr.import_shards import import_shards
from zoo.reinforced_data.datacompdr.published_sets import teachers_of
from zoo.reinforced_data.datacompdr.source import AppleShards, Find, find_inside
from zoo.reinforced_data.shards.find import find_shards
from zoo.reinforced_data.sidecars.embedding_storage import Storage


def data_import(
    shards: Annotated[str, tyro.conf.Positional],
    /,
    *,
    source: Annotated[str | None, tyro.conf.arg(name="from")] = None,
    published_set: Annotated[str, tyro.conf.arg(name="set")] = "datacompdr",
    storage: Storage = "int8",
    output: str | None = None,
    on_error: Literal["stop", "skip"] = "stop",
) -> None:
    """Turn Apple's reinforced data (DataCompDR, DFNDR) into sidecars of image shards.

    Finished sidecars are kept, so that a run that was stopped goes on where it was. Samples that
    Apple did not reinforce are listed and marked.

    Args:
        shards: image shards: a folder, a glob, a brace pattern, one tar or URLs of tars.
        source: Apple's shards, joined by sample key or by the uid in KEY.json; by default their
            members are expected beside the pictures.
        published_set: "datacompdr", "dfndr" or a JSON file that lists the teachers.
        storage: number format of the embeddings.
        output: folder or URL of the sidecars; by default beside the image shards.
        on_error: what unusable content does: end the run, or be marked and listed.
    """
    settings = ImportSettings(
        teachers=teachers_of(published_set),
        find=find_inside if source is None else _find_in(source),
        storage=storage,
        on_error=on_error,
    )
    report = import_shards(shards, settings, output=output, on_progress=show_progress)
    for unused in report.unused:
        say(f"not valid: {unused.reason}")
    say(
        f"wrote {len(report.written)} sidecars ({report.samples} samples, {len(report.unused)} of "
        f"them not valid) in {duration(report.seconds)}; kept {len(report.kept)} finished ones"
    )
    if report.elsewhere:
        say(f"left {len(report.elsewhere)} to another run, which is writing them now")


def _find_in(source: str) -> Find:
    return AppleShards(find_shards(source), _show_indexing).find


def _show_indexing(done: int, shards: int) -> None:
    status(f"listing the samples of Apple's shards, {done}/{shards}")
