"""Frames are spread evenly over a video, in their order.

.venv/bin/pytest tests/models/fastvlm/test_video.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoo.models.fastvlm.video import video_frames

SIZE = (64, 48)
LENGTH = 12


def shade(place: int) -> int:
    return 20 * place + 10


def frames_of_shades() -> list[Image.Image]:
    return [Image.new("RGB", SIZE, (shade(place), 0, 0)) for place in range(LENGTH)]


def places(frames: list[Image.Image]) -> list[int]:
    """Which frame of the video each is, told by its shade of red."""
    assert all(frame.size == SIZE and frame.mode == "RGB" for frame in frames)
    return [round((np.asarray(frame)[..., 0].mean() - 10) / 20) for frame in frames]


@pytest.mark.parametrize("name", ["video.gif", "video.webp", "video.png"])
def test_an_animated_picture_gives_the_middles_of_equal_spans(tmp_path: Path, name: str) -> None:
    first, *others = frames_of_shades()
    lossless: dict[str, Any] = {"lossless": True} if name.endswith("webp") else {}
    first.save(tmp_path / name, save_all=True, append_images=others, duration=50, **lossless)
    assert places(video_frames(tmp_path / name, 4)) == [1, 4, 7, 10]
    assert places(video_frames(tmp_path / name, 1)) == [6]
    assert places(video_frames(tmp_path / name, 100)) == list(range(LENGTH))


def test_a_video_file_is_read_by_opencv(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, SIZE)
    for frame in frames_of_shades():
        writer.write(np.asarray(frame)[..., ::-1])
    writer.release()
    frames = video_frames(path, 4)
    assert places(frames) == [1, 4, 7, 10]
    assert np.asarray(frames[3])[..., 2].mean() < 60  # red, not blue


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(ValueError, match="no video that"):
        video_frames(tmp_path / "text.mp4")
    with pytest.raises(FileNotFoundError, match="No video at"):
        video_frames(tmp_path / "nowhere.mp4")
    with pytest.raises(ValueError, match="count=0"):
        video_frames(tmp_path / "text.mp4", 0)


def test_a_truncated_animation_is_refused(tmp_path: Path) -> None:
    first, *others = frames_of_shades()
    first.save(tmp_path / "whole.webp", save_all=True, append_images=others)
    data = (tmp_path / "whole.webp").read_bytes()
    (tmp_path / "cut.webp").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"cut\.webp"):
        video_frames(tmp_path / "cut.webp")
