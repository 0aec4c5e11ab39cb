"""A sidecar gives back what was written, reads only what is used, and refuses to be anything else.

.venv/bin/pytest tests/reinforced_data/sidecars/test_sidecar.py
"""

import dataclasses
import errno
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.sidecars.embedding_storage import (
    STORAGES,
    EmbeddingRows,
    Storage,
    encode_embeddings,
    row_reader,
)
from zoo.reinforced_data.sidecars.header import SidecarHeader, TeacherInfo
from zoo.reinforced_data.sidecars.sidecar import Sidecar, SidecarRows, sidecar_path, write_sidecar
from zoo.reinforced_data.sidecars.tensor_file import write_tensors

SAMPLES, AUGMENTATIONS, CAPTIONS = 6, 3, 2
KEYS = ("cat", "dog.v2", "näher", "x" * 40, "5", "")
DIMS = {"wide": 768, "narrow": 64}


def unit_rows(*shape: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def make_header(storage: Storage = "int8", **changes: object) -> SidecarHeader:
    header = SidecarHeader(
        shard="00012.tar",
        shard_bytes=10_240,
        samples=SAMPLES,
        augmentation=AugmentationPolicy(flip_probability=0.5),
        augmentations=AUGMENTATIONS,
        captions=CAPTIONS,
        captioner={"name": "retrieval", "top_k": 3},
        teachers=tuple(
            TeacherInfo(
                name=name,
                pretrained="random",
                embed_dim=dim,
                image_size=64,
                logit_scale=100.0,
                storage=storage,
            )
            for name, dim in DIMS.items()
        ),
        seed=5,
        packages={"torch": torch.__version__},
    )
    return dataclasses.replace(header, **changes)


def image_rows(name: str) -> np.ndarray:
    return unit_rows(SAMPLES, AUGMENTATIONS, DIMS[name])


def text_rows(name: str) -> np.ndarray:
    return unit_rows(SAMPLES, 1 + CAPTIONS, DIMS[name], seed=2)


def stored(embeddings: np.ndarray, storage: Storage) -> EmbeddingRows:
    samples, rows, dim = embeddings.shape
    result = EmbeddingRows.zeros((samples, rows, dim), storage)
    result.put(slice(None), embeddings)
    return result


def make_rows(storage: Storage = "int8") -> SidecarRows:
    rng = np.random.default_rng(1)
    return SidecarRows(
        keys=KEYS,
        digests=rng.integers(0, 256, (SAMPLES, 8), dtype=np.uint8),
        valid=np.array([1, 1, 0, 1, 1, 1], bool),
        augment_params=rng.random((SAMPLES, AUGMENTATIONS, 9), dtype=np.float32),
        captions=[
            ("", "") if i == 2 else (f"a photo of {i}", f"größe {i} 🐕") for i in range(SAMPLES)
        ],
        image_embeddings={name: stored(image_rows(name), storage) for name in DIMS},
        text_embeddings={name: stored(text_rows(name), storage) for name in DIMS},
    )


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = sidecar_path(tmp_path / "00012.tar")
    write_sidecar(path, make_header(), make_rows())
    return path


def test_a_sidecar_stands_beside_its_shard() -> None:
    assert sidecar_path("a/00012.tar") == Path("a/00012.reinforced.safetensors")


@pytest.mark.parametrize("storage", STORAGES)
def test_what_was_written_comes_back(tmp_path: Path, storage: Storage) -> None:
    path, header, rows = tmp_path / "s", make_header(storage), make_rows(storage)
    write_sidecar(path, header, rows)
    sidecar = Sidecar.open(path)
    assert sidecar.header == header
    assert sidecar.keys == KEYS
    assert (sidecar.valid == rows.valid).all()
    assert (sidecar.digests == rows.digests).all()
    assert [sidecar.captions(i) for i in range(SAMPLES)] == list(rows.captions)
    for i in range(SAMPLES):
        for a in range(AUGMENTATIONS):
            assert (sidecar.augment_params(i, a) == rows.augment_params[i, a]).all()
    tolerance = {"fp32": 0, "fp16": 5e-4, "bf16": 4e-3, "int8": 8e-3}[storage]
    for name in DIMS:
        for expected, read in (
            (image_rows(name), sidecar.image_embedding),
            (text_rows(name), sidecar.text_embedding),
        ):
            got = np.array([[read(name, i, r) for r in range(3)] for i in range(SAMPLES)])
            assert got.dtype == np.float32
            assert np.linalg.norm(got - expected, axis=-1).max() <= 1.5 * tolerance


def test_any_safetensors_reader_opens_it_and_finds_the_documented_tensors(written: Path) -> None:
    with safe_open(written, "pt") as file:  # type: ignore[no-untyped-call]
        names = list(file.keys())
        shapes = {n: (file.get_tensor(n).dtype, tuple(file.get_tensor(n).shape)) for n in names}
        metadata = file.metadata()
    names = sum(len(key.encode()) for key in KEYS)
    texts = sum(len(text.encode()) for captions in make_rows().captions for text in captions)
    expected = {
        "keys.bytes": (torch.uint8, (names,)),
        "keys.offsets": (torch.int64, (SAMPLES + 1,)),
        "digests": (torch.uint8, (SAMPLES, 8)),
        "valid": (torch.uint8, (SAMPLES,)),
        "augment.params": (torch.float32, (SAMPLES, AUGMENTATIONS, 9)),
        "captions.bytes": (torch.uint8, (texts,)),
        "captions.offsets": (torch.int64, (SAMPLES * CAPTIONS + 1,)),
    }
    for name, dim in DIMS.items():
        for kind, rows in (("image", AUGMENTATIONS), ("text", 1 + CAPTIONS)):
            expected[f"{kind}.{name}.values"] = (torch.int8, (SAMPLES, rows, dim))
            expected[f"{kind}.{name}.scale"] = (torch.float16, (SAMPLES, rows))
    assert shapes == expected
    assert metadata["shard"] == "00012.tar" and metadata["shard_bytes"] == "10240"
    assert json.loads(metadata["augmentation"])["columns"][0] == "crop_left"


def test_bfloat16_is_stored_as_bfloat16(tmp_path: Path) -> None:
    write_sidecar(tmp_path / "s", make_header("bf16"), make_rows("bf16"))
    with safe_open(tmp_path / "s", "pt") as file:  # type: ignore[no-untyped-call]
        stored = file.get_tensor("image.wide.values")
    expected = torch.from_numpy(image_rows("wide")).bfloat16()
    assert torch.equal(stored, expected)


def test_bytes_do_not_depend_on_the_order_of_tensors_and_metadata(tmp_path: Path) -> None:
    tensors = {name: np.arange(5, dtype=dtype) for name, dtype in zip("abcd", "bfqe", strict=True)}
    metadata = {str(i): "x" * i for i in range(9)}
    write_tensors(tmp_path / "one", tensors, metadata)
    write_tensors(tmp_path / "two", reverse(tensors), reverse(metadata))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def reverse(mapping: dict[str, Any]) -> dict[str, Any]:
    return dict(reversed(mapping.items()))


@pytest.mark.parametrize("dim", [64, 128, 768, 1536])
def test_int8_rows_keep_their_direction_to_a_cosine_of_0_9999(dim: int) -> None:
    rows = unit_rows(200, 10, dim)
    read = row_reader(encode_embeddings(rows, "int8"), "int8")
    decoded = np.array([[read(i, a) for a in range(10)] for i in range(200)])
    cosines = (decoded * rows).sum(-1) / np.linalg.norm(decoded, axis=-1)
    assert cosines.min() >= 0.9999


def test_int8_values_are_off_by_half_a_stored_scale_at_most() -> None:
    rows = unit_rows(500, 2, 256)
    encoded = encode_embeddings(rows, "int8")
    scale = encoded["scale"].astype(np.float32)[..., None]
    errors = np.abs(encoded["values"] * scale - rows)
    # The largest value of a row may lie up to 127 · 2⁻¹¹ of a scale above the last step.
    assert (errors <= scale * 0.5 * (1 + 1e-3)).all()
    assert np.abs(encoded["values"]).max() == 127


def test_int8_storage_hardly_changes_what_the_student_is_taught() -> None:
    """KL of the teacher's row-wise softmax (scale 100), with cosines like CLIP's: 0.36 and 0.15."""
    common = unit_rows(1, 768)
    shared = unit_rows(512, 768, seed=1)
    image = 0.39 * common + 0.46 * shared + 0.8 * unit_rows(512, 768, seed=2)
    text = 0.39 * common + 0.46 * shared + 0.8 * unit_rows(512, 768, seed=3)

    def log_target(storage: Storage) -> torch.Tensor:
        towers = []
        for rows in (image, text):
            unit = (rows / np.linalg.norm(rows, axis=-1, keepdims=True))[:, None]
            read = row_reader(encode_embeddings(unit, storage), storage)
            towers.append(torch.tensor(np.array([read(i, 0) for i in range(512)])))
        return (100 * towers[0] @ towers[1].T).log_softmax(-1)

    exact, stored = log_target("fp32"), log_target("int8")
    divergence = (exact.exp() * (exact - stored)).sum(-1).mean().item()
    assert 0 < divergence < 2e-4


def test_a_row_of_zeros_stays_zeros() -> None:
    read = row_reader(encode_embeddings(np.zeros((1, 1, 8), np.float32), "int8"), "int8")
    assert (read(0, 0) == 0).all()


def test_a_sidecar_without_captions_teachers_or_samples_is_readable(tmp_path: Path) -> None:
    header = make_header(samples=0, captions=0, teachers=())
    rows = SidecarRows(
        keys=(),
        digests=np.zeros((0, 8), np.uint8),
        valid=np.zeros(0, bool),
        augment_params=np.zeros((0, 3, 9), np.float32),
        captions=[],
        image_embeddings={},
        text_embeddings={},
    )
    write_sidecar(tmp_path / "s", header, rows)
    sidecar = Sidecar.open(tmp_path / "s")
    assert sidecar.keys == () and sidecar.teachers == {}


def test_a_worker_process_gets_the_same_rows(written: Path) -> None:
    sidecar = Sidecar.open(written)
    copy: Sidecar = pickle.loads(pickle.dumps(sidecar))
    assert (copy.image_embedding("wide", 3, 1) == sidecar.image_embedding("wide", 3, 1)).all()


def test_another_shard_is_refused_by_the_names_of_both_keys(written: Path) -> None:
    sidecar = Sidecar.open(written)
    sidecar.check_shard(Path("00012.tar"), KEYS)
    swapped = ("cat", "näher", "dog.v2", *KEYS[3:])
    with pytest.raises(ValueError, match=r"Sample 1 is 'näher' in '00012\.tar' but 'dog\.v2' in"):
        sidecar.check_shard(Path("00012.tar"), swapped)
    with pytest.raises(ValueError, match=r"has 6 samples but '00012\.tar' has 5"):
        sidecar.check_shard(Path("00012.tar"), KEYS[:5])


def test_a_sidecar_cut_anywhere_is_refused(written: Path) -> None:
    content = written.read_bytes()
    for length in (*range(0, len(content), 997), 7, 8, 9, len(content) - 1):
        written.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"^'.*00012\.reinforced\.safetensors' .*reinforce"):
            Sidecar.open(written)


def test_every_flipped_byte_is_refused_on_opening_or_found_by_verify(written: Path) -> None:
    content = written.read_bytes()
    Sidecar.open(written).verify()
    data_start = 8 + int.from_bytes(content[:8], "little")
    positions = [*range(8), *range(8, data_start, 13), *range(data_start, len(content), 499)]
    for position in positions:
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        written.write_bytes(damaged)
        if position < data_start and content[position] != ord(" "):
            with pytest.raises(ValueError, match="reinforce"):
                Sidecar.open(written)
        elif position >= data_start:
            with pytest.raises(ValueError, match="values that changed"):
                Sidecar.open(written).verify()


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"PK\x03\x04" + b"zip" * 50, b"{}" * 50])
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(ValueError, match=r"/s' (is truncated or not|is not a sidecar)"):
        Sidecar.open(tmp_path / "s")


def test_anothers_safetensors_file_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"weight": np.zeros(3)}, tmp_path / "s")
    with pytest.raises(ValueError, match="is not a sidecar of zoo"):
        Sidecar.open(tmp_path / "s")


def test_a_missing_sidecar_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make it with `zoo reinforce`"):
        Sidecar.open(tmp_path / "none")


def test_embeddings_that_are_not_finite_are_refused() -> None:
    embeddings = image_rows("narrow")
    embeddings[1, 1, 1] = np.nan
    with pytest.raises(ValueError, match="not finite; the teacher's weights or its numeric type"):
        stored(embeddings, "int8")


@pytest.mark.parametrize("storage", STORAGES)
def test_rows_put_in_batch_by_batch_are_those_put_in_at_once(storage: Storage) -> None:
    embeddings = image_rows("narrow")
    at_once = stored(embeddings, storage)
    in_batches = EmbeddingRows.zeros((SAMPLES, AUGMENTATIONS, DIMS["narrow"]), storage)
    for batch in ([4, 0, 5], [1], [3]):
        in_batches.put(batch, embeddings[batch])
    for part, tensor in at_once.tensors.items():
        assert (in_batches.tensors[part][[0, 1, 3, 4, 5]] == tensor[[0, 1, 3, 4, 5]]).all()
        assert not in_batches.tensors[part][2].any()


def test_stored_rows_are_written_again_as_they_were(written: Path, tmp_path: Path) -> None:
    sidecar = Sidecar.open(written)
    rows = dataclasses.replace(
        make_rows(),
        image_embeddings={name: sidecar.stored("image", name) for name in DIMS},
        text_embeddings={name: sidecar.stored("text", name) for name in DIMS},
    )
    write_sidecar(tmp_path / "again", sidecar.header, rows)
    assert (tmp_path / "again").read_bytes() == written.read_bytes()


def test_a_full_disk_leaves_the_old_sidecar_whole(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = written.read_bytes()

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        write_sidecar(written, make_header(seed=6), make_rows())
    assert written.read_bytes() == before
    assert list(written.parent.iterdir()) == [written]
