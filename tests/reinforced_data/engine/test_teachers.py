"""Teachers are frozen and their embeddings their models' own; captions follow similarity and key.

.venv/bin/pytest tests/reinforced_data/engine/test_teachers.py
"""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_shards import SAMPLES, make_samples

from zoo.models.checkpoint import save_weights
from zoo.models.load import load_model
from zoo.models.preprocess import open_image
from zoo.reinforced_data.engine.captioners import (
    RetrievalCaptioner,
    read_candidates,
    shard_captions,
)
from zoo.reinforced_data.engine.teachers import (
    Teacher,
    load_teacher,
    parse_teacher_spec,
    zoo_teacher,
)

CORPUS = [
    f"a {size} {thing}" for size in ("big", "small") for thing in ("cat", "dog", "car", "sea")
]


def test_a_teacher_stays_in_eval_mode_without_gradients(teacher: Teacher) -> None:
    teacher.train()
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_a_teachers_embeddings_are_its_models_own_scaled_to_length_one(teacher: Teacher) -> None:
    model = load_model("mobileclip-tiny", weights=None)
    by_hand = zoo_teacher("t", model, pretrained="random")
    image = Image.effect_mandelbrot((90, 70), (-2, -1, 1, 1), 50).convert("RGB")
    with torch.no_grad():
        expected = model.encode_image(model.preprocess(image)[None], normalize=True).numpy()
        text = model.encode_text(model.tokenize(["a cat"]), normalize=True).numpy()
    assert np.abs(by_hand.encode_images([image]) - expected).max() < 1e-6
    assert np.abs(by_hand.encode_texts(["a cat"]) - text).max() < 1e-6
    assert np.linalg.norm(teacher.encode_images([image] * 3), axis=1) == pytest.approx(np.ones(3))


def test_a_teacher_specification_is_read_by_its_grammar() -> None:
    assert parse_teacher_spec("zoo:mobileclip2-s0") == (
        "mobileclip2-s0",
        "zoo",
        "mobileclip2-s0",
        None,
    )
    assert parse_teacher_spec("a=zoo:b@c/d.pt") == ("a", "zoo", "b", "c/d.pt")
    assert parse_teacher_spec("open_clip:hf-hub:apple/DFN2B-CLIP-ViT-L-14") == (
        "DFN2B-CLIP-ViT-L-14",
        "open_clip",
        "hf-hub:apple/DFN2B-CLIP-ViT-L-14",
        None,
    )


@pytest.mark.parametrize("spec", ["mobileclip2-s0", "timm:vit", "zoo:", "a b=zoo:x", "=zoo:x", ""])
def test_an_unknown_specification_shows_the_grammar(spec: str) -> None:
    with pytest.raises(ValueError, match=r"write \[NAME=\]zoo:MODEL\[@WEIGHTS\] or") as error:
        load_teacher(spec)
    assert repr(spec) in str(error.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("open_clip:ViT-L-41@openai", "no model 'ViT-L-41'; did you mean ViT-L-1"),
        ("open_clip:ViT-B-32", "names no weights and would be random"),
        (f"open_clip:MobileCLIP2-S0@{__file__}", "write zoo:MobileCLIP2-S0@"),
        ("zoo:mobileclip-huge", "mobileclip-huge"),
    ],
)
def test_a_teacher_that_would_be_wrong_is_refused(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        load_teacher(spec)


def test_a_zoo_teacher_is_loaded_from_a_file_and_known_by_its_content(tmp_path: Path) -> None:
    model = load_model("mobileclip-tiny", weights=None)
    save_weights(model, tmp_path / "weights.safetensors")
    loaded = load_teacher(f"me=zoo:mobileclip-tiny@{tmp_path / 'weights.safetensors'}")
    expected = zoo_teacher("t", model, pretrained="random").encode_texts(["a cat"])
    assert loaded.name == "me"
    assert re.fullmatch(r"weights.safetensors sha256:[0-9a-f]{16}", loaded.pretrained)
    assert np.abs(loaded.encode_texts(["a cat"]) - expected).max() < 1e-6


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
