"""Tiny folders in the layouts of the vision-language benchmarks, one function a benchmark."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def picture(path: Path, seed: int = 0) -> None:
    """Write a picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def text(path: Path, content: Any, *, lines: bool = False) -> None:
    """Write JSON, or JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = content if lines else [content]
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")


def gqa(folder: Path) -> None:
    first = {"imageId": "n1", "question": "Is it red?", "answer": "yes"}
    second = {"imageId": "n1", "question": "What is it?", "answer": "dog"}
    questions = {
        "201": first | {"types": {"structural": "verify"}},
        "202": second | {"types": {"structural": "query"}},
    }
    text(folder / "testdev_balanced_questions.json", questions)
    picture(folder / "images" / "n1.jpg")


def textvqa(folder: Path) -> None:
    entry = {"question_id": 34602, "image_id": "003a", "question": "what BRAND is it?"}
    data = [entry | {"answers": ["nous les gosses"] * 8 + ["dakota"] * 2}]
    text(folder / "TextVQA_0.5.1_val.json", {"data": data})
    asked = {
        "question_id": "003a",
        "image": "003a.jpg",
        "text": "what BRAND is it?\nReference OCR token: DAKOTA, 7\n"
        "Answer the question using a single word or phrase.",
        "category": "default",
    }
    text(folder / "llava_textvqa_val_v051_ocr.jsonl", [asked], lines=True)
    picture(folder / "train_images" / "003a.jpg")


def pope(folder: Path) -> None:
    for category in ("adversarial", "popular", "random"):
        entries = [
            {"question_id": number, "image": "COCO_val2014_000000000001.jpg", "label": label}
            | {"text": f"Is there a {category} {number} in the image?"}
            for number, label in ((1, "yes"), (2, "no"))
        ]
        text(folder / f"coco_pope_{category}.json", entries, lines=True)
    picture(folder / "val2014" / "COCO_val2014_000000000001.jpg")


def vqav2(folder: Path) -> None:
    asked = {"questions": [{"image_id": 42, "question": "Where?", "question_id": 42000}]}
    answers = [{"answer": "net", "answer_id": number} for number in range(10)]
    known = {"question_id": 42000, "answers": answers, "answer_type": "other"}
    text(folder / "v2_OpenEnded_mscoco_val2014_questions.json", asked)
    text(folder / "v2_mscoco_val2014_annotations.json", {"annotations": [known]})
    text(folder / "v2_OpenEnded_mscoco_test-dev2015_questions.json", asked)
    picture(folder / "val2014" / "COCO_val2014_000000000042.jpg")
    picture(folder / "test2015" / "COCO_test2015_000000000042.jpg")


def docvqa(folder: Path) -> None:
    entry = {"questionId": 49153, "question": "Who?", "image": "documents/a_1.png"}
    text(folder / "val_v1.0_withQT.json", {"data": [entry | {"answers": ["ITC", "itc ltd"]}]})
    text(folder / "test_v1.0.json", {"data": [entry]})
    picture(folder / "documents" / "a_1.png")


def infovqa(folder: Path) -> None:
    entry = {"questionId": 7, "question": "How many?", "image_local_name": "20471.jpeg"}
    data = [entry | {"answers": ["12%"]}]
    text(folder / "infographicsVQA_val_v1.0_withQT.json", {"data": data})
    picture(folder / "infographicsvqa_images" / "20471.jpeg")


def chartqa(folder: Path) -> None:
    for kind, label in (("human", "14"), ("augmented", "Blue")):
        entries = [{"imgname": f"{kind}.png", "query": "Which?", "label": label}]
        text(folder / "test" / f"test_{kind}.json", entries)
        picture(folder / "test" / "png" / f"{kind}.png")


def scienceqa(folder: Path) -> None:
    problem = {"question": "Which?", "choices": ["iron", "wood"], "answer": 1, "subject": "natural"}
    problems = {
        "5": problem | {"hint": "Look.", "image": "image.png"},
        "6": problem | {"hint": "", "image": None},
        "7": problem | {"hint": "", "image": "image.png"},
    }
    text(folder / "problems.json", problems)
    text(folder / "pid_splits.json", {"test": ["5", "6"], "train": ["7"]})
    picture(folder / "images" / "test" / "5" / "image.png")


def seed(folder: Path) -> None:
    options = {f"choice_{letter}": f"option {letter}" for letter in "abcd"}
    entry = {"question_id": "101", "question": "How many?", "answer": "C", "question_type_id": 1}
    questions = [
        entry | options | {"data_type": "image", "data_id": "1454_25"},
        entry | options | {"data_type": "video", "data_id": "clip", "question_id": "v1"},
    ]
    content = {"questions": questions, "question_type": {"Scene Understanding": 1}}
    text(folder / "SEED-Bench.json", content)
    picture(folder / "SEED-Bench-image" / "1454_25.png")
    (folder / "SEED-Bench-image" / "1454_25.png").rename(folder / "SEED-Bench-image" / "1454_25")


def ai2d(folder: Path) -> None:
    entry = {"answerTexts": ["ears", "nose"], "correctAnswer": 1}
    questions = {
        "What is A?": entry | {"abcLabel": True, "questionId": "0.png-0"},
        "What eats?": entry | {"abcLabel": False, "questionId": "0.png-1"},
    }
    text(folder / "questions" / "0.png.json", {"imageName": "0.png", "questions": questions})
    (folder / "ai2d_test_ids.csv").write_text("0\n99\n")
    picture(folder / "images" / "0.png")
    picture(folder / "abc_images" / "0.png")


WRITERS: dict[str, Callable[[Path], None]] = {
    "gqa": gqa,
    "textvqa": textvqa,
    "textvqa-ocr": textvqa,
    "pope": pope,
    "vqav2": vqav2,
    "docvqa": docvqa,
    "infovqa": infovqa,
    "chartqa": chartqa,
    "scienceqa": scienceqa,
    "seed": seed,
    "ai2d": ai2d,
}
"""MMMU's files are parquet, which its own test writes."""
