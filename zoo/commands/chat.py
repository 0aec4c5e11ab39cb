"""`zoo chat`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro
from PIL import Image

from zoo.commands.console import say
from zoo.commands.vision_language import DTypeName, Tiles, loaded_model
from zoo.models.card import Stage
from zoo.models.fastvlm.prompt import DEFAULT_SYSTEM_PROMPT
from zoo.models.fastvlm.video import video_frames
from zoo.models.hub import PUBLISHED
from zoo.models.preprocess import Aspect, open_image

_FORGET = "/forget"


def chat(
    inputs: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    /,
    *,
    model: str = "fastvlm-0.5b",
    weights: str = PUBLISHED,
    stage: Stage | None = None,
    device: str = "auto",
    dtype: DTypeName | None = None,
    image_size: int | None = None,
    aspect: Aspect | None = None,
    tiles: Tiles = (),
    video: Path | None = None,
    system_prompt: str = DEFAULT_SYSTEM_PROMPT,
    max_new_tokens: int = 256,
    temperature: float = 0.0,
) -> None:
    """Ask a model about pictures.

    With a question it answers and ends. Without, it reads questions, one a line, from the terminal
    or a pipe; each follows on those before it and costs only its own tokens. "/forget" goes back
    to the pictures alone, an empty line ends.

    Args:
        inputs: picture files, then the question, in quotation marks.
        model: a vision-language model of `zoo list`.
        weights: "published", "none" (random), or a file or folder.
        stage: which of the published weights; 3 by default.
        device: cpu, cuda, mps, or auto for the fastest there is.
        dtype: of the weights; what the device computes fastest by default. int8 is the CPU's.
        image_size: side of the model's input in pixels; fewer are faster, more are finer.
        aspect: pad a picture to a square, or crop its middle.
        tiles: columns and rows to cut a large picture into beside the whole, e.g. 2 2; several
            pairs to choose from.
        video: a video or an animated picture, of which 8 frames join the pictures. The published
            models were trained on one picture at a time.
        system_prompt: what the conversation begins with.
        max_new_tokens: where an answer that does not end is cut.
        temperature: 0 takes the likeliest token; above, one is drawn.
    """
    files, question = _files_and_question(inputs)
    pictures: list[Image.Image] = [open_image(file) for file in files]
    if video is not None:
        pictures += video_frames(video)
    loaded = loaded_model(
        model,
        weights=weights,
        stage=stage,
        device=device,
        dtype=dtype,
        image_size=image_size,
        aspect=aspect,
        tiles=tiles,
    )
    conversation = loaded.chat(pictures, system_prompt=system_prompt)
    answer = partial(conversation.stream, max_new_tokens=max_new_tokens, temperature=temperature)
    for line in _questions() if question is None else [question]:
        if line == _FORGET:
            conversation.forget()
        else:
            _show(answer(line))


def _files_and_question(inputs: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    """The last input is the question, unless it is, or looks like, a file."""
    if not inputs or os.path.exists(inputs[-1]) or _looks_like_file(inputs[-1]):
        return inputs, None
    return inputs[:-1], inputs[-1]


def _looks_like_file(text: str) -> bool:
    return len(text.split()) == 1 and ("/" in text or Path(text).suffix != "")


def _questions() -> Iterator[str]:
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        say(f"Ask, one question a line. {_FORGET} starts again, an empty line ends.")
    while True:
        try:
            line = input("> " if is_terminal else "").strip()
        except EOFError:
            return
        if not line:
            return
        yield line


def _show(pieces: Iterator[str]) -> None:
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
