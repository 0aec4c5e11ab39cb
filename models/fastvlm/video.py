"""Frames of a video, as pictures for a prompt."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from zoo.models.preprocess import DECODING_ERRORS, open_image


def video_frames(path: str | Path, count: int = 8) -> list[Image.Image]:
    """Return `count` frames in their order, each the middle one of an equal span of the video.

    An animated GIF, WebP or PNG is read by Pillow; any other file by OpenCV (`zoo[data]`). A video
    of fewer frames gives all it has. FastVLM was trained on no video: it reads the frames as so
    many pictures.

    Raises FileNotFoundError for a missing file and ValueError for one that cannot be read.
    """
    path = Path(path)
    if count < 1:
        raise ValueError(f"count={count}; take 1 frame or more.")
    if not path.is_file():
        raise FileNotFoundError(f"No video at '{path}'; check the path.")
    try:
        return _frames_by_pillow(path, count)
    except UnidentifiedImageError:
        return _frames_by_opencv(path, count)
    except DECODING_ERRORS as error:
        raise ValueError(f"'{path}' is damaged ({error}); replace it.") from error


def _frames_by_pillow(path: Path, count: int) -> list[Image.Image]:
    frames = []
    with Image.open(path) as animation:
        for place in _places(getattr(animation, "n_frames", 1), count):
            animation.seek(place)
            frames.append(open_image(animation))
    return frames


def _frames_by_opencv(path: Path, count: int) -> list[Image.Image]:
    try:
        import cv2
    except ImportError as error:
        raise ValueError(
            f"'{path}' is no animated GIF or WebP; other videos need OpenCV: install zoo[data]."
        ) from error
    video = cv2.VideoCapture(str(path))
    length = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    if length < 1:
        raise ValueError(
            f"'{path}' is no video that Pillow or OpenCV can read; give a GIF, a WebP or an MP4."
        )
    frames = []
    for place in _places(length, count):
        video.set(cv2.CAP_PROP_POS_FRAMES, place)
        is_read, pixels = video.read()
        if not is_read:
            raise ValueError(f"Frame {place} of '{path}' cannot be decoded; replace the video.")
        frames.append(Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)))
    return frames


def _places(length: int, count: int) -> list[int]:
    """The middles of equal spans of `length` frames."""
    count = min(count, length)
    return [(2 * span + 1) * length // (2 * count) for span in range(count)]
