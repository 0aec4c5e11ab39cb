"""`zoo segment`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from zoo.commands.console import say, show_table, status, weights_argument
from zoo.commands.segment_overlay import overlay
from zoo.models.class_names import DEFAULT_TEMPLATES
from zoo.models.hub import PUBLISHED
from zoo.models.preprocess import open_image
from zoo.models.sam_clip.class_maps import BACKGROUND_CLASS
from zoo.models.sam_clip.load import load_sam_clip
from zoo.models.sam_clip.segmentation import Refine, Segmentation
from zoo.reinforced_data.shards.whole_file import whole_file

REFINEMENTS: dict[str, Refine] = {"none": False, "points": True, "regions": "regions"}
_SUFFIX = ".segments.png"


def segment(
    photos: Annotated[tuple[Path, ...], tyro.conf.Positional],
    /,
    *,
    labels: tuple[str, ...],
    model: str = "sam-clip-vit-b",
    weights: str = PUBLISHED,
    refine: Literal["none", "points", "regions"] = "none",
    background: float | None = None,
    template: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    device: str = "auto",
    output: Path | None = None,
) -> None:
    """Colour every pixel of photographs by which of your labels it shows.

    Writes each photograph under colours, with a legend, and prints every label's share of the
    pixels and its score: the greatest probability that the CLIP head gives it in any patch.

    Args:
        photos: image files.
        labels: what may be seen, e.g. dog cat "tall grass", or with commas between.
        model: a SAM-CLIP of `zoo list`.
        weights: a file of yours, or "none" (random); none were published.
        refine: draw the labels again with SAM's decoder, prompted by points (the paper's way) or
            region by region.
        background: a probability, e.g. 0.4, below which a pixel shows none of the labels; by
            default every pixel gets one.
        template: a sentence with {} for the label; repeat for several. The default is
            "a photo of a {}.".
        device: cpu, cuda, mps, or auto for the fastest there is.
        output: a .png file, for one photograph, or a folder; by default NAME.segments.png beside
            each photograph.
    """
    names = [name.strip() for name in ",".join(labels).split(",") if name.strip()]
    if not names:
        raise ValueError("The list of labels is empty; give some, e.g. --labels dog cat grass.")
    files = _output_files(photos, output)
    loaded = load_sam_clip(model, weights=weights_argument(weights), device=device)
    for number, (photo, file) in enumerate(zip(photos, files, strict=True), start=1):
        status(f"{photo}: {number} of {len(photos)}")
        picture = open_image(photo)
        found = loaded.segment(
            picture,
            names,
            refine=REFINEMENTS[refine],
            templates=template or DEFAULT_TEMPLATES,
            background=background,
        )
        with whole_file(file) as temporary:
            overlay(picture, found.classes.cpu(), names).save(temporary, format="PNG")
        say(f"{photo}: wrote {file}")
        show_table(["pixels", "score", "label"], _rows(found, names))


def _rows(found: Segmentation, names: list[str]) -> list[list[str]]:
    """Labels by their share of the pixels, the background last."""
    share = [float((found.classes == number).float().mean()) for number in range(len(names))]
    by_share = sorted(zip(share, found.scores.tolist(), names, strict=True), reverse=True)
    rows = [[f"{pixels:6.1%}", f"{score:.3f}", name] for pixels, score, name in by_share]
    nothing = float((found.classes == BACKGROUND_CLASS).float().mean())
    return [*rows, [f"{nothing:6.1%}", "", "(none of them)"]] if nothing else rows


def _output_files(photos: tuple[Path, ...], output: Path | None) -> list[Path]:
    """Where the result of each photograph goes; a folder that is not there is made."""
    if not photos:
        raise ValueError("There is nothing to segment; give at least one photograph.")
    if output is not None and output.suffix.lower() == ".png":
        if len(photos) > 1:
            raise ValueError(
                f"--output {output} is one file for {len(photos)} photographs; give a folder."
            )
        files = [output]
    else:
        files = [(output or photo.parent) / f"{photo.stem}{_SUFFIX}" for photo in photos]
    for file, photo in zip(files, photos, strict=True):
        if files.count(file) > 1:
            raise ValueError(
                f"The result of '{photo}' and that of another photograph would both be '{file}'; "
                "rename one, or segment them one by one."
            )
        if file.exists() and photo.exists() and file.samefile(photo):
            raise ValueError(f"--output {output} is the photograph itself; give another file.")
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    return files
