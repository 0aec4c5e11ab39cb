"""A sample of Apple's layout is decoded whole, or refused by a sentence that names it.

.venv/bin/pytest tests/reinforced_data/datacompdr/test_members.py
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from apple_shards import AUGMENTATIONS, CAPTIONS, TEACHERS, apple_samples, unit_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from webdataset.writer import default_handlers, encode_based_on_extension

from zoo.reinforced_data.datacompdr.embeddings import UNPACKED_BYTES
from zoo.reinforced_data.datacompdr.members import ReinforcedSample, decode_members
from zoo.reinforced_data.datacompdr.published_sets import PUBLISHED_SETS, teachers_of

NAME = "Sample 'x' of shard y.tar"


def members(layout: str = "npz", **changed: Any) -> dict[str, bytes]:
    """The members of a sample; a changed one is encoded as webdataset would, None drops it."""
    sample = {**apple_samples(1, layout=layout)[0], **changed}
    kept = {key: value for key, value in sample.items() if value is not None and key[0] != "_"}
    return encode_based_on_extension(kept, default_handlers)


def decode(data: dict[str, bytes]) -> ReinforcedSample:
    return decode_members(NAME, data, data["jpg"], TEACHERS)


def refused(data: dict[str, bytes]) -> str:
    with pytest.raises(ValueError, match=r"^Sample 'x' of shard y\.tar has ") as caught:
        decode(data)
    return str(caught.value)


def stored(layout: str) -> dict[str, np.ndarray]:
    arrays = apple_samples(1, layout=layout)[0][layout]
    return {name: torch.as_tensor(rows).float().numpy() for name, rows in arrays.items()}


@pytest.mark.parametrize(("layout", "storage"), [("npz", "fp32"), ("pth.gz", "bf16")])
def test_each_layout_gives_every_teacher_its_own_part(layout: str, storage: str) -> None:
    sample, expected = decode(members(layout)), stored(layout)
    assert sample.storage == storage and sample.counts == (AUGMENTATIONS, CAPTIONS)
    for kind, rows in (("image", sample.image_embeddings), ("text", sample.text_embeddings)):
        assert np.array_equal(rows["first"], expected[f"{kind}_emb"][:, :24])
        assert np.array_equal(rows["second"], expected[f"{kind}_emb"][:, 24:])
    assert sample.captions == ("thing 0, view 0", "thing 0, view 1")


def test_npz_goes_before_the_rounded_layout() -> None:
    both = members("npz") | {"pth.gz": members("pth.gz")["pth.gz"]}
    assert decode(both).storage == "fp32"


def test_captions_embedded_apart_are_joined_with_the_ground_truth() -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "image_emb{self.tag_suffix}": unit_rows(rng, AUGMENTATIONS),
        "text_emb": unit_rows(rng, 1),
        "syn_text_b_emb": unit_rows(rng, 2),
        "syn_text_a_emb": unit_rows(rng, 1),
    }
    texts = {"syn_text_a": ["one"], "syn_text_b": ["two", "three"], "syn_text_c": ["unembedded"]}
    sample = decode(members(npz=arrays, **{"syn.json": json.dumps(texts)}))
    assert sample.captions == ("one", "two", "three")
    order = ("text_emb", "syn_text_a_emb", "syn_text_b_emb")
    expected = np.concatenate([arrays[name] for name in order])
    assert np.array_equal(sample.text_embeddings["first"], expected[:, :24])


def test_augmentations_may_be_a_string_of_json() -> None:
    entries = json.loads(members()["paug.json"])["param_aug"]
    text = json.dumps({"param_aug": json.dumps(entries)})
    changed = decode(members(**{"paug.json": text}))
    assert np.array_equal(changed.augment_params, decode(members()).augment_params)


def arrays_with(**changed: np.ndarray) -> dict[str, np.ndarray]:
    return stored("npz") | changed


ROWS = unit_rows(np.random.default_rng(1), 4)
WRONG = {
    "no embeddings": dict(npz=None),
    "no paug.json": {"paug.json": None},
    "no syn.json": {"syn.json": None},
    "a .npz that cannot be read": dict(npz=b"PK\x03\x04 cut off"),
    "of 31 numbers, but the teachers make 32": dict(npz=arrays_with(image_emb=ROWS[:3, :31])),
    "4 image embeddings but 3 recorded": dict(npz=arrays_with(image_emb=ROWS)),
    "2 synthetic captions but 4 text": dict(npz=arrays_with(text_emb=ROWS)),
    "an empty image_emb: ml-mobileclip-dr": dict(npz=arrays_with(image_emb=ROWS[:0])),
    "image_emb that is not finite": dict(npz=arrays_with(image_emb=ROWS[:3] * np.nan)),
    "image_emb of shape (32,)": dict(npz=arrays_with(image_emb=ROWS[0])),
    "1.41 to 1.41 long, not 1": dict(npz=arrays_with(image_emb=ROWS[:3] * np.float32(2**0.5))),
    "the embeddings text_emb; expected one image_emb": dict(npz={"text_emb": ROWS[:3]}),
    "no array text_emb, only image_emb": dict(npz={"image_emb": ROWS[:3]}),
    "without lists of texts": {"syn.json": '{"syn_text": "one"}'},
    "a .syn.json that is not JSON": {"syn.json": "[" * 100_000},
    "a .paug.json that does not fit": {"paug.json": '{"param_aug": [[[0, 0, 9, 9999], []]]}'},
    "no usable picture": dict(jpg=b"\xff\xd8\xff nothing"),
}


@pytest.mark.parametrize("said", WRONG)
def test_what_cannot_be_used_is_named(said: str) -> None:
    assert said in refused(members(**WRONG[said]))


def test_a_turned_picture_is_refused_since_apple_did_not_turn_it() -> None:
    content, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.open(io.BytesIO(members()["jpg"])).save(content, "JPEG", exif=exif)
    assert "EXIF orientation 6" in refused(members(jpg=content.getvalue()))


class Touch:
    """Unpickled, it makes the file `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


def test_code_in_a_member_is_not_run(tmp_path: Path) -> None:
    touch, archive, saved = Touch(tmp_path / "made"), io.BytesIO(), io.BytesIO()
    np.savez(archive, image_emb=np.array([touch], object))
    torch.save({"image_emb": touch}, saved)
    for content in (archive.getvalue(), pickle.dumps(touch)):
        assert "cannot be read" in refused(members() | {"npz": content})
    gzipped = gzip.compress(saved.getvalue())
    assert "cannot be read" in refused(members("pth.gz") | {"pth.gz": gzipped})
    assert not (tmp_path / "made").exists()


def test_a_member_that_unpacks_to_gigabytes_is_refused() -> None:
    bomb = gzip.compress(bytes(UNPACKED_BYTES + 1), compresslevel=1)
    assert "when unpacked" in refused(members("pth.gz") | {"pth.gz": bomb})
    archive, zeros = io.BytesIO(), np.zeros(UNPACKED_BYTES // 4 + 1, np.float32)
    np.savez_compressed(archive, image_emb=zeros)
    assert "when unpacked" in refused(members() | {"npz": archive.getvalue()})
    saved = io.BytesIO()
    torch.save({"image_emb": torch.zeros(1).expand(10**9, 32)}, saved)
    data = {**members("pth.gz"), "pth.gz": gzip.compress(saved.getvalue())}
    assert "when unpacked" in refused(data)


@pytest.mark.parametrize("suffix", ["npz", "pth.gz", "syn.json", "paug.json"])
def test_damage_is_harmless_or_a_sentence(suffix: str) -> None:
    data = members("pth.gz" if suffix == "pth.gz" else "npz")
    whole = data[suffix]

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(place=st.integers(0, len(whole) - 1), value=st.integers(1, 255), cut=st.booleans())
    def damage(place: int, value: int, cut: bool) -> None:
        flipped = whole[:place] + bytes([whole[place] ^ value]) + whole[place + 1 :]
        data[suffix] = whole[:place] if cut else flipped
        try:
            sample = decode(data)
        except ValueError as error:
            assert str(error).startswith(NAME)
        else:
            assert sample.counts == (AUGMENTATIONS, CAPTIONS)

    damage()


def test_published_sets_have_two_teachers_of_768_numbers() -> None:
    scales = {name: [t.logit_scale for t in PUBLISHED_SETS[name]] for name in PUBLISHED_SETS}
    assert scales == {"datacompdr": [100.0, 100.0], "dfndr": [70.0, 60.0]}
    assert all(t.embed_dim == 768 for name in PUBLISHED_SETS for t in teachers_of(name))
    assert [t.pretrained for t in teachers_of("datacompdr")] == [
        "ViT-L-14@openai",
        "ViT-L-14@datacomp_xl_s13b_b90k",
    ]


def test_teachers_of_the_users_own_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "teachers.json"
    path.write_text(
        '[{"name": "a", "pretrained": "b", "embed_dim": 4, "image_size": 8, "logit_scale": 9.5}]'
    )
    assert [(t.name, t.embed_dim, t.logit_scale) for t in teachers_of(str(path))] == [("a", 4, 9.5)]
    path.write_text('[{"name": "a"}]')
    with pytest.raises(ValueError, match="does not list teachers"):
        teachers_of(str(path))
    with pytest.raises(ValueError, match="no set 'dfn'; give datacompdr, dfndr"):
        teachers_of("dfn")
