"""`zoo data pack`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import tyro

from zoo.commands.console import duration, say, status
from zoo.models.class_names import CLASS_NAMES_FILE, DEFAULT_TEMPLATES
from zoo.reinforced_data.shards.own_pictures import holds_pictures
from zoo.reinforced_data.shards.pack import caption_shards, pack_pictures


def data_pack(
    source: Annotated[Path, tyro.conf.Positional],
    output: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    class_names: Path | None = None,
    template: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    samples_per_shard: int = 1000,
) -> None:
    """Write the pictures at SOURCE as shards to OUTPUT, to train on and to evaluate with.

    SOURCE is a folder with a folder of pictures for each class, a folder of pictures with a caption
    file beside each (1.jpg, 1.txt), or a .csv, .tsv or .jsonl with the columns path and caption.
    Labelled shards are taken too and get captions made of their class names.

    Args:
        source: folder or table of pictures, or labelled shards.
        output: where the tars go; it must hold none yet.
        class_names: text file with one name a line: for each class folder in their sorted order, by
            default the folders' names; for each label of shards, by default classnames.txt there.
        template: caption of a class, {} in its name's place; repeat for several. By default
            "a photo of a {}."
        samples_per_shard: pictures a tar.
    """
    pack = pack_pictures if holds_pictures(source) else caption_shards
    packed = pack(
        source,
        output,
        templates=template or DEFAULT_TEMPLATES,
        class_names=class_names,
        samples_per_shard=samples_per_shard,
        on_progress=packing_progress(),
    )
    say(f"wrote {len(packed.shards)} shards to {output}")
    if packed.class_names:
        say(f"wrote the names of {len(packed.class_names)} classes to {output / CLASS_NAMES_FILE}")


def packing_progress() -> Callable[[int, int], None]:
    """Return what shows how many pictures are packed, how fast, and how long it still takes."""
    start = time.monotonic()

    def show(done: int, total: int) -> None:
        if done % 100 == 0 or done == total:
            rate = done / max(time.monotonic() - start, 1e-9)
            left = duration((total - done) / rate)
            status(f"packing pictures {done}/{total}, {rate:.0f} a second, {left} left")

    return show
