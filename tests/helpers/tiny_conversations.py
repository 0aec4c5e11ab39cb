"""A handful of conversations about small pictures, as LLaVA files and as shards.

Used by .venv/bin/pytest tests/reinforced_data/conversations
"""

import io
import json
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

from pictures import encoded, picture

from zoo.models.fastvlm.language_model import tiny_tokenizer
from zoo.models.fastvlm.views import Views
from zoo.models.preprocess import Preprocessing

SIZE = 64
TOKENS = 2
"""Visual tokens a view, of no model in particular."""


def views() -> Views:
    return Views(
        preprocessing=Preprocessing(image_size=SIZE, interpolation="bicubic", aspect="pad")
    )


@cache
def tokenizer() -> Any:
    return tiny_tokenizer()


def settings(**changes: Any) -> dict[str, Any]:
    """What a ConversationLoader is made with, besides its sources."""
    common = {
        "tokenizer": tokenizer(),
        "views": views(),
        "tokens_per_view": TOKENS,
        "batch_size": 4,
        "max_length": 512,
        "seed": 3,
    }
    return common | changes


def turns(*texts: str) -> list[dict[str, str]]:
    """Questions and answers in LLaVA's form."""
    return [
        {"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(texts)
    ]


def record(number: int, *, image: str | None = None) -> dict[str, Any]:
    """A conversation whose answer says its number; the question grows with it."""
    question = f"what is it{' now' * (number % 7)}?"
    if image is None:
        return {"id": f"r{number}", "conversations": turns(question, f"number {number}")}
    asked = turns(f"<image>\n{question}", f"number {number}")
    return {"id": f"r{number}", "image": image, "conversations": asked}


def records(count: int, *, text_only: int = 0) -> list[dict[str, Any]]:
    """`count` with a picture, then `text_only` without."""
    pictured = [record(i, image=f"{i % 3}.png") for i in range(count)]
    return pictured + [record(i) for i in range(count, count + text_only)]


def write_images(folder: Path, count: int = 3) -> Path:
    """0.png, 1.png, … of different shapes."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f"{i}.png").write_bytes(png(i))
    return folder


def png(number: int) -> bytes:
    return encoded(picture(20 + number, 30 - number, seed=number), "PNG")


def write_json(path: Path, content: Any) -> str:
    """A .json list or a .jsonl file of `content`; its path."""
    lines = map(json.dumps, content)
    path.write_text("\n".join(lines) if path.suffix == ".jsonl" else json.dumps(content))
    return str(path)


def write_tar(path: Path, members: dict[str, bytes]) -> str:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return str(path)


def answers(batch: dict[str, Any]) -> list[int | None]:
    """The number that each row's answer says; None of a blank row."""
    found = []
    for labels in batch["labels"]:
        text = tokenizer().decode(labels[labels >= 0].tolist()).split("<|im_end|>")[0]
        found.append(int(text.split()[-1]) if text else None)
    return found
