"""The fast path shows the views of the exact path, to within a stated tolerance.

.venv/bin/pytest tests/reinforced_data/augmentation/test_fast.py
"""

import builtins
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import encoded, photo, picture
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from zoo.models.preprocess import open_image
from zoo.reinforced_data.augmentation.fast import decode, prepare_worker, replay_jpeg, replay_pixels
from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.randomness import keyed_rng

cv2 = pytest.importorskip("cv2")
pytest.importorskip("simplejpeg")

POLICY = AugmentationPolicy(flip_probability=0.5)
PHOTOS = [encoded(photo(500, 375, seed), quality=q) for seed, q in enumerate((75, 85, 92, 95))]


def differences(policy: AugmentationPolicy, size: int, records: int) -> list[np.ndarray]:
    """Levels between the two paths, of each view."""
    views = []
    for number, data in enumerate(PHOTOS):
        image = open_image(data)
        for i in range(records):
            params = policy.record(keyed_rng("fast", number, i), *image.size)
            exact = np.asarray(policy.replay(image, params, size)).astype(int)
            views.append(np.abs(replay_jpeg(data, params, policy, size) - exact))
    return views


@pytest.mark.parametrize("size", [64, 224, 256])
def test_crops_and_flips_stay_within_two_levels_of_the_exact_path(size: int) -> None:
    policy = AugmentationPolicy(num_ops=0, flip_probability=0.5, erase_probability=0.5)
    for view in differences(policy, size, records=5):
        assert view.max() <= 2 and view.mean() < 0.02


@pytest.mark.parametrize("size", [224, 256])
def test_whole_augmentations_stay_within_the_stated_tolerance(size: int) -> None:
    views = differences(POLICY, size, records=20)
    assert np.mean(views) < 0.008
    assert np.percentile(views, 99) == 0
    assert max(view.mean() for view in views) < 0.06


def test_the_same_bytes_and_record_give_the_same_pixels() -> None:
    params = POLICY.record(keyed_rng(0), 500, 375)
    first, again = (replay_jpeg(PHOTOS[0], params, POLICY, 224) for _ in range(2))
    assert first.dtype == np.uint8 and first.shape == (224, 224, 3)
    assert first.flags.c_contiguous and (first == again).all()


def test_replaying_leaves_the_decoded_pixels_alone() -> None:
    policy = AugmentationPolicy(
        scale=(1.0, 1.0), ratio=(1.0, 1.0), num_ops=0, erase_probability=1.0
    )
    pixels = np.array(picture(64, 64))
    before = pixels.copy()
    view = replay_pixels(pixels, policy.record(keyed_rng(0), 64, 64), policy, 64)
    assert (pixels == before).all() and (view != before).any()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(photo(90, 60), exif=exif)


def turned_by_xmp() -> bytes:
    return encoded(photo(90, 60), xmp=b'<x xmlns:tiff="t" tiff:Orientation="6"/>')


def with_grey_thumbnail_before_xmp() -> bytes:
    data = turned_by_xmp()
    profile = b"\xff\xe2" + (2 + 40).to_bytes(2, "big") + b"\xff\xda" * 20
    return data[:2] + profile + data[2:]


PICTURE_FILES = {
    "jpeg": PHOTOS[0],
    "progressive": encoded(photo(90, 60), progressive=True, quality=90),
    "4:4:4": encoded(photo(91, 61), subsampling=0),
    "4:2:2": encoded(photo(91, 61), subsampling=1),
    "4:2:0, odd": encoded(photo(91, 61), subsampling=2),
    "grey jpeg": encoded(photo(91, 61).convert("L")),
    "cmyk jpeg": encoded(photo(91, 61).convert("CMYK")),
    "rgb jpeg": encoded(photo(91, 61), keep_rgb=True),
    "png": encoded(photo(90, 60), "PNG"),
    "transparent png": encoded(photo(90, 60).convert("RGBA"), "PNG"),
    "webp": encoded(photo(90, 60), "WEBP"),
    "upside down in xmp": turned_by_xmp(),
    "a scan marker inside a profile": with_grey_thumbnail_before_xmp(),
    "bytes after the end": PHOTOS[0] + b"\x00" * 100,
    "without the end marker": encoded(photo(64, 64))[:-2],
} | {f"orientation {n}": turned(n) for n in range(10)}


@pytest.mark.parametrize("data", PICTURE_FILES.values(), ids=PICTURE_FILES)
def test_every_kind_of_file_is_decoded_to_the_pixels_of_the_exact_path(data: bytes) -> None:
    try:
        expected = np.asarray(open_image(data))
    except ValueError:
        with pytest.raises(ValueError, match="cannot be decoded"):
            decode(data)
        return
    assert decode(data).shape == expected.shape
    assert (decode(data) == expected).all()


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 10, 200, 620, 2000, -3000, -10, -3])
def test_a_cut_file_fails_as_the_exact_path_does(cut: int) -> None:
    data = PHOTOS[1][:cut]
    with pytest.raises(ValueError) as exact:
        open_image(data)
    with pytest.raises(ValueError) as fast:
        decode(data)
    assert str(fast.value) == str(exact.value)


def test_flipped_bytes_decode_or_fail_as_on_the_exact_path() -> None:
    good = encoded(photo(90, 60), quality=80)
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(good)
        damaged[int(rng.integers(len(good)))] = int(rng.integers(256))
        try:
            expected = np.asarray(open_image(bytes(damaged)))
        except ValueError:
            with pytest.raises(ValueError):
                decode(bytes(damaged))
        else:
            assert (decode(bytes(damaged)) == expected).all()


def test_a_picture_of_absurd_size_is_refused_before_memory_is_taken() -> None:
    data = bytearray(PHOTOS[0])
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xdc" * 2  # 65,500 × 65,500 pixels
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="too large"):
        decode(bytes(data))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1.5 * before


class Threads(Dataset[int]):
    """How many threads a worker process has once it has replayed a record at 512 pixels."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, number: int) -> int:
        replay_jpeg(PHOTOS[0], POLICY.record(keyed_rng(number), 500, 375), POLICY, 512)
        return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted on Linux")
def test_a_prepared_worker_neither_starts_threads_nor_awaits_those_of_its_parent() -> None:
    rotate_a_large_picture = AugmentationPolicy(num_ops=1)
    params = np.array([0, 0, 1, 1, 0, 5, 9.0], np.float32)
    replay_jpeg(PHOTOS[0], params, rotate_a_large_picture, 1024)  # starts the parent's threads
    loader = DataLoader(
        Threads(),
        batch_size=None,  # as tensors they would be sent by a thread more
        num_workers=1,
        multiprocessing_context="fork",
        worker_init_fn=prepare_worker,
        timeout=30,
    )
    main_and_queue = 2
    assert max(loader) <= main_and_queue


def test_a_record_of_another_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="5 numbers does not fit this policy"):
        replay_jpeg(PHOTOS[0], np.zeros(5, np.float32), POLICY, 32)


@pytest.mark.parametrize("missing", ["cv2", "simplejpeg"])
def test_a_missing_library_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == missing:
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"needs simplejpeg and opencv; install zoo\[data\]"):
        replay_jpeg(PHOTOS[0], np.zeros(9, np.float32), POLICY, 32)
