"""Benchmarks with free answers, read from the files that their authors publish.

Every function takes the folder that the files were unpacked into and the split, and returns the
questions in the order of the file, without the instruction that ends the prompt. It raises
FileNotFoundError for a missing file and ValueError for one of another form.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.eval.vision_language.question import (
    Question,
    entries,
    member,
    read_json,
    read_json_lines,
)

_POPE_CATEGORIES = ("adversarial", "popular", "random")


def read_gqa(folder: Path, split: str) -> list[Question]:
    """GQA: `SPLIT_balanced_questions.json` ({id: {imageId, question, answer, types}}), `images/`.

    The kind is the question's structural type, such as "verify".
    """
    path = folder / f"{split}_balanced_questions.json"
    by_id = read_json(path)
    if not isinstance(by_id, dict):
        raise ValueError(f"{path} is not an object of questions by id; give GQA's own file.")
    asked = entries(list(by_id.values()), ("imageId", "question", "answer"), path)
    return [
        Question(
            id=id,
            prompt=entry["question"],
            images=(folder / "images" / f"{entry['imageId']}.jpg",),
            answers=(entry["answer"],),
            kind=entry.get("types", {}).get("structural", ""),
        )
        for id, entry in zip(by_id, asked, strict=True)
    ]


def read_textvqa(folder: Path, split: str) -> list[Question]:
    """TextVQA without OCR tokens: `TextVQA_0.5.1_SPLIT.json`, `train_images/` (test: test_images).

    The question as lmms-eval asks it: its first letter large, all others small.
    """
    pictures = folder / ("test_images" if split == "test" else "train_images")
    return [
        Question(
            id=str(entry["question_id"]),
            prompt=entry["question"].capitalize(),
            images=(pictures / f"{entry['image_id']}.jpg",),
            answers=_answers(entry),
        )
        for entry in _textvqa(folder, split)
    ]


def read_textvqa_with_ocr(folder: Path, split: str) -> list[Question]:
    """TextVQA as LLaVA asks it, with the words that an OCR system read ("Reference OCR token").

    `llava_textvqa_SPLIT_v051_ocr.jsonl` of LLaVA's eval.zip ({question_id: the picture, image,
    text}), beside the files of `read_textvqa`. Its prompts end with the instruction already.
    """
    answers = {
        (entry["image_id"], entry["question"].lower()): entry for entry in _textvqa(folder, split)
    }
    path = folder / f"llava_textvqa_{split}_v051_ocr.jsonl"
    questions = []
    for entry in entries(read_json_lines(path), ("question_id", "image", "text"), path):
        key = (entry["question_id"], entry["text"].split("\n")[0].lower())
        if key not in answers:
            raise ValueError(f"{path} asks {key[1]!r} of {key[0]}, which TextVQA does not.")
        questions.append(
            Question(
                id=str(answers[key]["question_id"]),
                prompt=entry["text"],
                images=(folder / "train_images" / entry["image"],),
                answers=_answers(answers[key]),
            )
        )
    return questions


def _textvqa(folder: Path, split: str) -> list[dict[str, Any]]:
    path = folder / f"TextVQA_0.5.1_{split}.json"
    data = member(read_json(path), "data", path)
    return entries(data, ("question_id", "question", "image_id"), path)


def read_vqav2(folder: Path, split: str) -> list[Question]:
    """VQAv2, files of visualqa.org.

    "val": `v2_OpenEnded_mscoco_val2014_questions.json`, `v2_mscoco_val2014_annotations.json`,
    `val2014/`; "test-dev": `v2_OpenEnded_mscoco_test-dev2015_questions.json`, `test2015/`, whose
    answers are on the server. The kind is the type of the answer: yes/no, number, other.
    """
    is_val = split == "val"
    pictures = "val2014" if is_val else "test2015"
    path = folder / f"v2_OpenEnded_mscoco_{pictures if is_val else 'test-dev2015'}_questions.json"
    asked = member(read_json(path), "questions", path)
    annotations = _vqav2_annotations(folder) if is_val else {}
    questions = []
    for entry in entries(asked, ("question_id", "question", "image_id"), path):
        annotation = annotations.get(entry["question_id"], {})
        answers = tuple(answer["answer"] for answer in annotation.get("answers", ()))
        questions.append(
            Question(
                id=str(entry["question_id"]),
                prompt=entry["question"],
                images=(folder / pictures / f"COCO_{pictures}_{entry['image_id']:012d}.jpg",),
                answers=answers or None,
                kind=annotation.get("answer_type", ""),
            )
        )
    return questions


def _vqav2_annotations(folder: Path) -> dict[int, dict[str, Any]]:
    path = folder / "v2_mscoco_val2014_annotations.json"
    annotations = member(read_json(path), "annotations", path)
    return {
        entry["question_id"]: entry
        for entry in entries(annotations, ("question_id", "answers"), path)
    }


def read_docvqa(folder: Path, split: str) -> list[Question]:
    """DocVQA, task 1: `SPLIT_v1.0.json` or `…_withQT.json`, pictures where it says (`documents/`).

    The answers of "test" are on the server.
    """
    asked = _documents(folder, f"{split}_v1.0*.json", "image")
    return [_document_question(entry, folder / entry["image"]) for entry in asked]


def read_infovqa(folder: Path, split: str) -> list[Question]:
    """InfographicVQA: `infographicsVQA_SPLIT_v1.0*.json`, pictures in `infographicsvqa_images/`.

    The answers of "test" are on the server.
    """
    asked = _documents(folder, f"infographic*VQA_{split}_v1.0*.json", "image_local_name")
    pictures = folder / "infographicsvqa_images"
    return [_document_question(entry, pictures / entry["image_local_name"]) for entry in asked]


def _documents(folder: Path, pattern: str, picture: str) -> list[dict[str, Any]]:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise FileNotFoundError(f"{folder} has {len(found)} files {pattern}; there must be one.")
    data = member(read_json(found[0]), "data", found[0])
    return entries(data, ("questionId", "question", picture), found[0])


def _document_question(entry: dict[str, Any], picture: Path) -> Question:
    return Question(
        id=str(entry["questionId"]),
        prompt=entry["question"],
        images=(picture,),
        answers=_answers(entry),
    )


def _answers(entry: dict[str, Any]) -> tuple[str, ...] | None:
    """None in the files of a split whose answers a server keeps."""
    return tuple(entry["answers"]) if entry.get("answers") else None


def read_chartqa(folder: Path, split: str) -> list[Question]:
    """ChartQA: `SPLIT/SPLIT_human.json`, `SPLIT/SPLIT_augmented.json` ([{imgname, query, label}]),
    pictures in `SPLIT/png/`. The kind is human or augmented."""
    questions = []
    for kind in ("human", "augmented"):
        path = folder / split / f"{split}_{kind}.json"
        asked = entries(read_json(path), ("imgname", "query", "label"), path)
        questions += [
            Question(
                id=f"{kind}/{number}",
                prompt=entry["query"],
                images=(folder / split / "png" / entry["imgname"],),
                answers=(entry["label"],),
                kind=kind,
            )
            for number, entry in enumerate(asked)
        ]
    return questions


def read_pope(folder: Path, split: str) -> list[Question]:
    """POPE on COCO: `coco_pope_{adversarial,popular,random}.json` (lines {question_id, image, text,
    label}), pictures in `val2014/`. The kind is the category."""
    questions = []
    for kind in _POPE_CATEGORIES:
        path = folder / f"coco_pope_{kind}.json"
        asked = entries(read_json_lines(path), ("question_id", "image", "text", "label"), path)
        questions += [
            Question(
                id=f"{kind}/{entry['question_id']}",
                prompt=entry["text"].strip(),
                images=(folder / "val2014" / entry["image"],),
                answers=(entry["label"].lower().strip(),),
                kind=kind,
            )
            for entry in asked
        ]
    return questions
