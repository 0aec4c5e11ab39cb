"""Captions chosen from a corpus follow similarity and key.

.venv/bin/pytest tests/reinforced_data/engine/test_retrieval_captioner.py
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_shards import SAMPLES, make_samples

from zoo.models.preprocess import open_image
from zoo.reinforced_data.engine.captioners.load import load_captioner
from zoo.reinforced_data.engine.captioners.retrieval import (
    RetrievalCaptioner,
    read_candidates,
    shard_captions,
)
from zoo.reinforced_data.engine.teachers import Teacher

CORPUS = [
    f"a {size} {thing}" for size in ("big", "small") for thing in ("cat", "dog", "car", "sea")
]


def pictures() -> tuple[list[Image.Image], list[str]]:
    samples = make_samples(6)
    return [open_image(sample.image) for sample in samples], [sample.key for sample in samples]


def test_captions_are_distinct_and_do_not_depend_on_order(teacher: Teacher) -> None:
    captioner = RetrievalCaptioner(teacher, CORPUS, top_k=6)
    images, keys = pictures()
    made = captioner.captions(images, keys, 3)
    assert all(len(set(captions)) == 3 and set(captions) <= set(CORPUS) for captions in made)
    assert captioner.captions(images[::-1], keys[::-1], 3) == made[::-1]
    assert captioner.captions(images, [key + "'" for key in keys], 3) != made


def test_a_cold_captioner_gives_the_most_similar_captions_in_order(teacher: Teacher) -> None:
    captioner = RetrievalCaptioner(teacher, CORPUS, top_k=4, temperature=1e-9)
    images, keys = pictures()
    similarities = teacher.encode_images(images) @ teacher.encode_texts(CORPUS).T
    for row, captions in zip(similarities, captioner.captions(images, keys, 4), strict=True):
        assert list(captions) == [CORPUS[i] for i in np.argsort(-row)[:4]]


def test_captions_come_from_the_top_k_as_often_as_their_softmax_says(teacher: Teacher) -> None:
    captioner = RetrievalCaptioner(teacher, CORPUS, top_k=3, temperature=0.01)
    image = pictures()[0][0]
    row = (teacher.encode_images([image]) @ teacher.encode_texts(CORPUS).T)[0]
    top = np.argsort(-row)[:3]
    expected = np.exp((row[top] - row[top[0]]) / 0.01)
    count = 300
    made = captioner.captions([image] * count, [str(i) for i in range(count)], 1)
    shares = [made.count((CORPUS[i],)) / count for i in top]
    assert sum(shares) == 1
    assert shares == pytest.approx(expected / expected.sum(), abs=0.1)


def test_a_captioner_refuses_what_it_cannot_do(teacher: Teacher, tmp_path: Path) -> None:
    images, keys = pictures()
    with pytest.raises(ValueError, match="no candidate captions"):
        RetrievalCaptioner(teacher, ["", ""])
    with pytest.raises(ValueError, match="4 captions a picture cannot be drawn from the 3"):
        RetrievalCaptioner(teacher, CORPUS, top_k=3).captions(images, keys, 4)
    with pytest.raises(FileNotFoundError, match="give a text file"):
        read_candidates(tmp_path / "none.txt")
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match="is not utf-8 text"):
        read_candidates(tmp_path / "latin")


def test_candidates_come_from_a_file_or_from_the_shards(shards: list[Path], tmp_path: Path) -> None:
    (tmp_path / "candidates.txt").write_text("a cat\n\n  a dog \n")
    assert read_candidates(tmp_path / "candidates.txt") == ["a cat", "a dog"]
    captions = shard_captions(shards)
    assert captions[:2] == ["a red thing", "thing number 0"]
    assert len(captions) == 5 + SAMPLES


def test_the_captioner_called_retrieval_chooses_by_the_first_teacher(
    teacher: Teacher, second_teacher: Teacher
) -> None:
    images, keys = pictures()
    loaded = load_captioner(
        "retrieval", teachers=[teacher, second_teacher], candidates=lambda: CORPUS, seed=3
    )
    expected = RetrievalCaptioner(teacher, CORPUS, seed=3)
    assert loaded.settings == expected.settings
    assert loaded.captions(images, keys, 2) == expected.captions(images, keys, 2)
