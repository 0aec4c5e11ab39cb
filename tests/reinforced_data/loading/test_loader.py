"""The loader shows every sample once an epoch, always the same way, and goes on where it stopped.

.venv/bin/pytest tests/reinforced_data/loading/test_loader.py
"""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_shards import SAMPLES, make_samples
from torch import Tensor

from zoo.models.preprocess import open_image
from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.engine.captioners.retrieval import RetrievalCaptioner
from zoo.reinforced_data.engine.reinforce import reinforce
from zoo.reinforced_data.engine.teachers import Teacher
from zoo.reinforced_data.loading.loader import Loader
from zoo.reinforced_data.shards.find import find_shards
from zoo.reinforced_data.shards.read import read_shard
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.write import write_shards
from zoo.reinforced_data.sidecars.sidecar import Sidecar, sidecar_path

CORPUS = [
    f"a {size} {thing}" for size in ("big", "small") for thing in ("cat", "dog", "car", "sea")
]
SYNTHETIC = 100  # `tokenize` gives caption k of the corpus the token 100 + k


def tokenize(texts: list[str]) -> Tensor:
    """Reversible: sample number and caption of it, or the place in the corpus."""
    return torch.tensor(
        [[SYNTHETIC + CORPUS.index(t), 0] if t in CORPUS else numbers(t) for t in texts]
    )


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split("/")]


def numbered_samples(count: int = SAMPLES) -> list[Sample]:
    samples = make_samples(count)
    return [
        Sample(key=s.key, image=s.image, captions=(f"{i}/0", f"{i}/1", f"{i}/2"))
        for i, s in enumerate(samples)
    ]


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    return write_shards(numbered_samples(), tmp_path / "shards", samples_per_shard=6)


@pytest.fixture(scope="module")
def reinforced_once(
    tmp_path_factory: pytest.TempPathFactory, teacher: Teacher, second_teacher: Teacher
) -> Path:
    folder = tmp_path_factory.mktemp("reinforced")
    shards = write_shards(numbered_samples(), folder, samples_per_shard=6)
    reinforce(
        shards,
        teachers=[teacher, second_teacher],
        captioner=RetrievalCaptioner(teacher, CORPUS, top_k=5),
        augmentations=3,
        captions=2,
        policy=AugmentationPolicy(flip_probability=0.5),
    )
    return folder


@pytest.fixture
def reinforced(reinforced_once: Path, tmp_path: Path) -> list[Path]:
    return find_shards(shutil.copytree(reinforced_once, tmp_path / "reinforced"))


def make_loader(shards: list[Path], **changes: Any) -> Loader:
    settings = {"tokenize": tokenize, "image_size": 48, "batch_size": 3, "seed": 7}
    return Loader(shards, **(settings | changes))


def shown(loader: Loader) -> list[int]:
    return [int(number) for batch in loader for number in batch["text"][:, 0]]


def same(first: list[dict[str, Tensor]], second: list[dict[str, Tensor]]) -> bool:
    return len(first) == len(second) and all(
        a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
        for a, b in zip(first, second, strict=True)
    )


def test_an_epoch_shows_every_sample_once(shards: list[Path]) -> None:
    loader = make_loader(shards, batch_size=1)
    assert len(loader) == loader.samples == SAMPLES
    assert sorted(shown(loader)) == list(range(SAMPLES))


def test_passes_follow_each_other_without_a_seam(shards: list[Path]) -> None:
    loader = make_loader(shards)
    batches = [len(loader)], [shown(loader)]
    for _ in range(2):
        batches[0].append(len(loader))
        batches[1].append(shown(loader))
    assert batches[0] == [4, 4, 3]  # 33 samples in batches of 3
    assert [len(numbers) for numbers in batches[1]] == [12, 12, 9]
    sequence = [number for numbers in batches[1] for number in numbers]
    for start in (0, SAMPLES, 2 * SAMPLES):
        assert sorted(sequence[start : start + SAMPLES]) == list(range(SAMPLES))


def test_each_epoch_has_its_own_order_and_the_seed_repeats_them(shards: list[Path]) -> None:
    loader, again = make_loader(shards), make_loader(shards)
    epochs = [shown(loader) for _ in range(3)]
    assert epochs == [shown(again) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    assert shown(make_loader(shards, seed=8)) != epochs[0]


@pytest.mark.parametrize("kind", ["plain", "reinforced"])
def test_any_number_of_workers_gives_the_same_batches(reinforced: list[Path], kind: str) -> None:
    def two_epochs(workers: int) -> list[dict[str, Tensor]]:
        loader = make_loader(reinforced, reinforced=kind == "reinforced", num_workers=workers)
        return [batch for _ in range(2) for batch in loader]

    alone = two_epochs(0)
    assert len(alone) == 8
    assert same(alone, two_epochs(2))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [0, 1, 2, 3, 4, 5])
def test_a_saved_state_leads_on_to_the_very_next_batch(
    reinforced: list[Path], workers: int, stop: int
) -> None:
    def endless(loader: Loader) -> Iterator[dict[str, Tensor]]:
        while True:
            yield from loader

    loader = make_loader(reinforced, reinforced=True, num_workers=workers)
    stream = endless(loader)
    for _ in range(stop):
        next(stream)
    state = loader.state_dict()
    expected = [next(stream) for _ in range(4)]
    resumed = make_loader(reinforced, reinforced=True)
    resumed.load_state_dict(state)
    stream = endless(resumed)
    assert same([next(stream) for _ in range(4)], expected)


def test_a_loop_left_in_the_middle_continues_after_the_batch_it_saw(shards: list[Path]) -> None:
    loader, undisturbed = make_loader(shards), make_loader(shards)
    for _ in loader:
        break
    assert same(list(loader), list(undisturbed)[1:])
    assert (loader.epoch, loader.position) == (1, 4)


def test_a_state_of_other_data_is_refused(shards: list[Path]) -> None:
    state = make_loader(shards).state_dict()
    with pytest.raises(ValueError, match="saved with seed = 7 but it is 8"):
        make_loader(shards, seed=8).load_state_dict(state)
    with pytest.raises(ValueError, match="saved with samples = 11 but it is 6"):
        make_loader(shards[:1]).load_state_dict(state)


def test_a_plain_batch_has_the_promised_tensors_and_random_captions(shards: list[Path]) -> None:
    loader = make_loader(shards)
    captions = set()
    for _ in range(4):
        for batch in loader:
            assert set(batch) == {"image", "text"}
            assert batch["image"].dtype == torch.uint8 and batch["image"].shape == (3, 3, 48, 48)
            assert batch["image"].is_contiguous() and batch["text"].dtype == torch.int64
            captions |= set(batch["text"][:, 1].tolist())
    assert captions == {0, 1, 2} and loader.teachers == {}


def test_a_plain_picture_is_augmented_anew_each_epoch(shards: list[Path]) -> None:
    loader = make_loader(shards[:1], batch_size=6)
    views = []
    for _ in range(3):
        (batch,) = loader
        views.append(batch["image"][batch["text"][:, 0].argsort()])
    assert not any((a == b).flatten(1).all(1).any() for a, b in [views[:2], views[1:]])


def test_without_augmentation_the_pixels_are_those_of_the_resized_picture(tmp_path: Path) -> None:
    squares = [open_image(sample.image).resize((70, 70)) for sample in make_samples(4)]
    samples = [
        Sample(key=str(i), image=png(square), captions=(f"{i}/0",))
        for i, square in enumerate(squares)
    ]
    shards = write_shards(samples, tmp_path / "squares")
    policy = AugmentationPolicy(scale=(1.0, 1.0), ratio=(1.0, 1.0), num_ops=0)
    (batch,) = make_loader(shards, policy=policy, batch_size=4)
    for pixels, number in zip(batch["image"], batch["text"][:, 0].tolist(), strict=True):
        expected = np.asarray(squares[number].resize((48, 48), Image.Resampling.BICUBIC))
        assert (pixels.permute(1, 2, 0).numpy() == expected).all()


def png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def test_every_reinforced_tensor_belongs_to_the_view_and_captions_shown(
    reinforced: list[Path], teacher: Teacher, second_teacher: Teacher
) -> None:
    sidecars = [Sidecar.open(sidecar_path(shard)) for shard in reinforced]
    images = [open_image(s.image) for shard in reinforced for s in read_shard(shard)]
    loader = make_loader(reinforced, reinforced=True)
    seen = set()
    for _ in range(4):
        for batch in loader:
            for j, (number, caption) in enumerate(batch["text"].tolist()):
                sidecar, row = sidecars[number // 6], number % 6
                views = [
                    np.asarray(
                        sidecar.policy.replay(images[number], sidecar.augment_params(row, a), 48)
                    )
                    for a in range(3)
                ]
                pixels = batch["image"][j].permute(1, 2, 0).numpy()
                a = [(view == pixels).all() for view in views].index(True)
                c = sidecar.captions(row).index(CORPUS[batch["synthetic_text"][j, 0] - SYNTHETIC])
                assert caption == 0
                for name in (teacher.name, second_teacher.name):
                    by_key = {
                        "image": sidecar.image_embedding(name, row, a),
                        "text": sidecar.text_embedding(name, row, 0),
                        "synthetic": sidecar.text_embedding(name, row, 1 + c),
                    }
                    for key, row_stored in by_key.items():
                        given = batch[f"teacher_{key}.{name}"][j]
                        assert given.dtype == torch.float32
                        assert (given.numpy() == row_stored).all()
                seen.add((a, c))
    assert len(seen) == 6  # each of 3 augmentations with each of 2 captions


def test_the_loader_knows_the_teachers_of_its_sidecars(
    reinforced: list[Path], teacher: Teacher
) -> None:
    loader = make_loader(reinforced, reinforced=True)
    assert list(loader.teachers) == ["tiny", "other.tiny"]
    assert loader.teachers["tiny"].logit_scale == teacher.logit_scale
    assert loader.teachers["tiny"].embed_dim == 128


def test_without_stored_captions_a_batch_has_no_synthetic_keys(
    shards: list[Path], teacher: Teacher
) -> None:
    reinforce(shards, teachers=[teacher], augmentations=1)
    batch = next(iter(make_loader(shards, reinforced=True)))
    assert set(batch) == {"image", "text", "teacher_image.tiny", "teacher_text.tiny"}


def test_samples_that_are_not_valid_are_never_shown(tmp_path: Path, teacher: Teacher) -> None:
    samples = numbered_samples(6)
    samples[3] = Sample(key="broken", image=samples[3].image[:200], captions=("3/0",))
    shards = write_shards(samples, tmp_path / "s")
    reinforce(shards, teachers=[teacher], augmentations=1, on_error="skip")
    loader = make_loader(shards, reinforced=True, batch_size=1)
    assert loader.samples == 5
    assert sorted(shown(loader)) == [0, 1, 2, 4, 5]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_is_named_in_one_sentence(tmp_path: Path, workers: int) -> None:
    samples = numbered_samples(4)
    samples[3] = Sample(key="broken", image=samples[3].image[:200], captions=("3/0",))
    shards = write_shards(samples, tmp_path / "s")
    with pytest.raises(
        ValueError, match=r"^Sample 'broken' of shard .*00000.tar has no usable"
    ) as error:
        list(make_loader(shards, batch_size=1, num_workers=workers))
    assert "\n" not in str(error.value)


def test_sidecars_that_do_not_fit_are_refused_by_name(
    reinforced: list[Path], teacher: Teacher, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="leave out policy"):
        make_loader(reinforced, reinforced=True, policy=AugmentationPolicy())
    reinforce(reinforced[1:], teachers=[teacher], augmentations=3, overwrite=True)
    with pytest.raises(ValueError, match=r"teachers is .* in '.*00000.* but .* in '.*00001"):
        make_loader(reinforced, reinforced=True)
    sidecar_path(reinforced[0]).replace(sidecar_path(reinforced[1]))
    with pytest.raises(FileNotFoundError, match=r"00000\.reinforced"):
        make_loader(reinforced, reinforced=True)
    with pytest.raises(ValueError, match=r"has 6 samples but '.*00001\.tar' has 5"):
        list(make_loader(reinforced[1:], reinforced=True))


def test_a_shard_whose_samples_changed_places_is_refused(reinforced: list[Path]) -> None:
    samples = list(read_shard(reinforced[0]))
    reinforced[0].unlink()
    folder = reinforced[0].parent / "other"
    write_shards(samples[::-1], folder)[0].replace(reinforced[0])
    with pytest.raises(
        ValueError, match=r"Sample 0 is 'photo005' in '.*00000\.tar' but 'photo000'"
    ):
        list(make_loader(reinforced, reinforced=True))


@pytest.mark.parametrize("batch_size", [0, 12])
def test_a_batch_size_that_gives_no_batch_is_refused(shards: list[Path], batch_size: int) -> None:
    with pytest.raises(ValueError, match=f"batch_size is {batch_size} but there are 11"):
        make_loader(shards, batch_size=batch_size)


def test_torchs_random_state_stays_untouched(shards: list[Path]) -> None:
    before = torch.get_rng_state()
    list(make_loader(shards))
    assert torch.equal(before, torch.get_rng_state())


def test_the_pictures_of_a_shard_come_back_by_their_place(shards: list[Path]) -> None:
    from zoo.reinforced_data.shards.index import ShardIndex, load_picture

    index = ShardIndex(shards[0])
    in_order = list(read_shard(shards[0]))
    for i in (5, 0, 3):
        sample, image = load_picture(index, i)
        assert sample == in_order[i]
        assert image.size == Image.open(io.BytesIO(sample.image)).size
