"""Bad input ends in one sentence that names it and in exit code 2, and nothing is half written.

.venv/bin/pytest tests/zoo/test_bad_input.py
"""

from __future__ import annotations

import io
import shlex
import shutil
import tarfile
from pathlib import Path

import pytest
import torch

from zoo.cli import main

TINY = "--model mobileclip-tiny"
RANDOM = f"{TINY} --weights none"
DOG = f"classify photo.jpg --labels dog {TINY}"
TEACHER = "--teacher zoo:mobileclip-tiny@good.safetensors"
SHORT = "--batch-size 16 --samples-seen 48 --warmup-samples 0"
PLAIN = f"train tiny-plain --data world {SHORT}"

Snapshot = dict[Path, tuple[int, int]]


class Malicious:
    """Leaves a file behind when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, ("owned.txt", "w")


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, photo: Path, weights: Path, world: Path
) -> Path:
    """Good files and bad ones; shared, because no command here may change it."""
    folder = tmp_path_factory.mktemp("bad-input")
    shutil.copy(photo, folder / "photo.jpg")
    shutil.copy(weights, folder / "good.safetensors")
    shutil.copytree(world, folder / "world")
    good = weights.read_bytes()
    contents = {
        "cut.safetensors": good[: len(good) // 2],
        "zero.safetensors": b"",
        "zero.jpg": b"",
        "text.jpg": b"this is no picture",
        "cut.jpg": photo.read_bytes()[:900],
        "text.tar": b"this is no tar",
        "zero.tar": b"",
        "note.txt": b"one line\n",
        "zero.txt": b"",
        "latin.txt": "café\n".encode("latin-1"),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "empty").mkdir()
    torch.save({"weight": Malicious()}, folder / "code.pt")
    torch.save({"weight": torch.zeros(3)}, folder / "other.pt")
    write_shard_with_a_damaged_picture(folder / "damaged.tar")
    return folder


def write_shard_with_a_damaged_picture(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in (("cat.jpg", b"no picture"), ("cat.txt", b"a cat")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def snapshot(folder: Path) -> Snapshot:
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if not path.is_dir() or not any(path.iterdir())
    }


RANDOM_TEACHER = "--teacher zoo:mobileclip-tiny@good.safetensors"
REFUSED = [
    ("reinforce world", "There is no teacher; give one"),
    (f"reinforce world {RANDOM_TEACHER} --captions 0", "--captions is 0; give at least 1"),
    (f"reinforce world {RANDOM_TEACHER} --augmentations 0", "--augmentations is 0"),
    ("bench latency", "There is nothing to time"),
    ("data tiny-world new --scenes 0", "count is 0"),
    (
        f"eval world {TINY} --weights good.safetensors --class-names latin.txt",
        "latin.txt is not utf-8 text",
    ),
    (
        f"eval world {TINY} --weights good.safetensors --class-names world/classnames.txt "
        "--batch-size 0",
        "batch_size is 0; give at least 1",
    ),
    # models and weights
    ("info mobileclip-s9", "Unknown model 'mobileclip-s9'; did you mean mobileclip-s"),
    ("classify photo.jpg --labels dog --model mobilclip-tiny", "did you mean mobileclip-tiny"),
    ("export mobileclip-tyni out", "Unknown model 'mobileclip-tyni'; did you mean"),
    ("bench latency mobileclip-tyni", "Unknown model 'mobileclip-tyni'; did you mean"),
    (DOG, "mobileclip-tiny has no published weights"),
    (f"{DOG} --weights absent.pt", "No weights at 'absent.pt'"),
    (f"{DOG} --weights note.txt/x", "No weights at 'note.txt/x'"),
    (f"{DOG} --weights cut.safetensors", "'cut.safetensors' cannot be read as weights"),
    (f"{DOG} --weights zero.safetensors", "'zero.safetensors' holds zero bytes"),
    (f"{DOG} --weights code.pt", "'code.pt' is not a plain PyTorch weights file"),
    (f"{DOG} --weights other.pt", "'other.pt' (weight, …) are not those of an image-text model"),
    (f"{DOG} --weights photo.jpg", "'photo.jpg' is not a plain PyTorch weights file"),
    (f"{DOG} --weights empty", "'empty' must hold one weights file"),
    (
        "classify photo.jpg --labels dog --model mobileclip-s0 --weights good.safetensors",
        "'good.safetensors' holds weights of mobileclip-tiny, not of mobileclip-s0",
    ),
    (f"convert absent.pt out.pt {TINY}", "No weights at 'absent.pt'"),
    (f"convert code.pt out.pt {TINY}", "'code.pt' is not a plain PyTorch weights file"),
    (f"convert good.safetensors out.bin {TINY}", "'out.bin' must end in .safetensors or .pt"),
    (f"convert good.safetensors note.txt/out.pt {TINY}", "'note.txt' cannot be read or written"),
    # photographs, labels, texts
    (f"classify zero.jpg --labels dog {RANDOM}", "'zero.jpg' holds zero bytes, not an image"),
    (f"classify text.jpg --labels dog {RANDOM}", "'text.jpg' is not an image"),
    (f"classify cut.jpg --labels dog {RANDOM}", "'cut.jpg' cannot be decoded"),
    (f"classify absent.jpg --labels dog {RANDOM}", "No image at 'absent.jpg'"),
    (f"classify empty --labels dog {RANDOM}", "'empty' is a folder, not an image"),
    (f"classify photo.jpg --labels ' , ' {RANDOM}", "The list of labels is empty"),
    (f"classify --labels dog {RANDOM}", "give at least one photograph"),
    (f"embed --output out.safetensors {RANDOM}", "There is nothing to embed"),
    (f"embed photo.jpg text.jpg --output out.pt {RANDOM}", "'text.jpg' is not an image"),
    (f"embed photo.jpg --output out.npy {RANDOM}", "'out.npy' must end in .safetensors or .pt"),
    (
        f"embed photo.jpg --output note.txt/out.safetensors {RANDOM}",
        "'note.txt' cannot be read or written",
    ),
    # data
    ("data tiny-world world --scenes 4", "The folder world already holds *.tar files"),
    ("data tiny-world note.txt --scenes 4", "'note.txt' cannot be read or written"),
    ("data tiny-world empty --scenes 4 --caption-noise 2", "caption_noise is 2.0"),
    (f"reinforce absent {TEACHER}", "No shard is named or matched by 'absent'"),
    (f"reinforce empty {TEACHER}", "The folder empty holds no *.tar file"),
    (f"reinforce text.tar {TEACHER}", "text.tar is not a plain tar file"),
    (f"reinforce zero.tar {TEACHER}", "Shard zero.tar is empty (0 bytes)"),
    (f"reinforce damaged.tar {TEACHER} --captions 1", "damaged.tar"),
    ("reinforce world --teacher tiny", "The teacher 'tiny' is not understood; write [NAME=]zoo:"),
    ("reinforce world --teacher zoo:mobileclip-tiny", "has no published weights"),
    ("reinforce world --teacher zoo:mobileclip-tiny@absent.pt", "No weights at 'absent.pt'"),
    (f"reinforce world {TEACHER} --candidates absent.txt", "There is no file 'absent.txt'"),
    (f"reinforce world {TEACHER} --candidates latin.txt", "'latin.txt' is not utf-8 text"),
    # training
    ("train tiny-plian", "Unknown recipe 'tiny-plian'; did you mean tiny-plain"),
    (f"{PLAIN} --output out --data absent", "No shard is named or matched by 'absent'"),
    (f"{PLAIN} --output out --data empty", "The folder empty holds no *.tar file"),
    (f"{PLAIN} --output out --data text.tar", "text.tar is not a plain tar file"),
    (f"{PLAIN} --output out --task reinforced", "world/00000.reinforced.safetensors"),
    (f"{PLAIN} --output out --batch-size 0", "Recipe field batch_size is 0"),
    (f"{PLAIN} --output out --init absent.pt", "No weights at 'absent.pt'"),
    (f"{PLAIN} --output out --model mobileclip-tyni", "Unknown model 'mobileclip-tyni'"),
    (f"{PLAIN} --output out --device tpu9", "The device 'tpu9' cannot be used"),
    (f"{PLAIN} --output out --validation world", "'world' has labels; give --class-names"),
    (f"{PLAIN} --output out --validation absent", "absent does not exist"),
    (f"{PLAIN} --output note.txt", "'note.txt' cannot be read or written"),
    # evaluation, export, timing
    (f"eval world {RANDOM}", "world has labels but no class names"),
    (f"eval world {RANDOM} --class-names absent.txt", "absent.txt does not exist"),
    (f"eval world {RANDOM} --class-names zero.txt", "zero.txt: every class needs a name"),
    (f"eval world {RANDOM} --class-names note.txt", "there are 1 class names"),
    (f"eval absent {RANDOM}", "absent does not exist"),
    (f"eval empty {RANDOM}", "There are no tars in empty"),
    (f"eval text.tar {RANDOM}", "text.tar is not a whole tar"),
    (f"eval world {TINY} --weights absent.pt", "No weights at 'absent.pt'"),
    ("bench latency mobileclip-tiny --rounds 1", "1 rounds give no spread"),
]


@pytest.mark.parametrize(("command", "fragment"), REFUSED, ids=[command for command, _ in REFUSED])
def test_bad_input_is_refused_in_one_sentence(
    command: str,
    fragment: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    before = snapshot(folder)
    assert main(shlex.split(command)) == 2
    output = capsys.readouterr()
    assert output.out == ""
    (line,) = output.err.splitlines()
    assert line.startswith("zoo: ")
    assert line.endswith((".", "?"))
    assert fragment in line
    assert snapshot(folder) == before


@pytest.mark.parametrize(
    ("command", "fragment"),
    [
        ("classify photo.jpg", "--labels"),
        ("classify photo.jpg --labels dog --modle mobileclip-tiny", "--modle"),
        (f"convert good.safetensors out.pt {TINY} --naming timm", "'timm'"),
        (f"{PLAIN} --output out --frobnicate 3", "--frobnicate"),
        (f"{PLAIN} --output out --batch-size many", "'many'"),
        ("eval world", "--model"),
    ],
)
def test_flags_that_are_unknown_missing_or_unreadable_are_named(
    command: str,
    fragment: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    before = snapshot(folder)
    with pytest.raises(SystemExit) as stopped:
        main(shlex.split(command))
    assert stopped.value.code == 2
    assert fragment in capsys.readouterr().err
    assert snapshot(folder) == before


def test_an_unreachable_hub_is_one_sentence_that_names_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "empty"))
    assert main(["classify", str(folder / "photo.jpg"), "--labels", "dog"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "weights='path/to/mobileclip2_s0.pt'" in line
    assert "huggingface.co/apple/MobileCLIP2-S0" in line


@pytest.mark.parametrize(
    ("command", "fragment"),
    [
        (
            f"eval world {RANDOM} --class-names world/classnames.txt --results empty",
            "'empty' cannot be read or written (Is a directory)",
        ),
        ("export mobileclip-tiny note.txt --weights none", "'note.txt' is a file; name a folder"),
    ],
)
def test_what_shows_only_after_some_progress_is_one_sentence_too(
    command: str,
    fragment: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    before = snapshot(folder)
    assert main(shlex.split(command)) == 2
    *progress, last = capsys.readouterr().err.splitlines()
    assert last.startswith(f"zoo: {fragment}")
    assert not any("zoo:" in line for line in progress)
    assert snapshot(folder) == before


def test_training_does_not_write_over_an_earlier_run(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    command = shlex.split(f"{PLAIN} --output {tmp_path / 'run'}")
    assert main(command) == 0
    before = snapshot(tmp_path)
    capsys.readouterr()
    assert main(command) == 2
    assert "already holds a run; resume it (--resume)" in capsys.readouterr().err
    assert snapshot(tmp_path) == before
