"""The `zoo` command finds its subcommands, helps, and ends with the exit code that shells expect.

.venv/bin/pytest tests/zoo/test_cli.py
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from zoo import list_models
from zoo.cli import COMMANDS, main

SCRIPT = Path(sys.executable).with_name("zoo")


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed `zoo` as a shell does."""
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_the_overview_names_every_command_and_what_it_does(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, command in COMMANDS.items():
        found = [line for line in lines if line.strip().partition("  ")[0] == name]
        assert [line.removesuffix(command.summary) != line for line in found] == [True], name


@pytest.mark.parametrize(
    "name", [name for name, command in COMMANDS.items() if not command.reads_own_arguments]
)
def test_every_command_shows_its_flags(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*name.split(), "--help"])
    assert stopped.value.code == 0
    assert f"usage: zoo {name}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["train"], ["train", "--list"], ["train", "--help"]])
def test_train_without_a_recipe_lists_the_recipes(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    output = capsys.readouterr().out
    assert "tiny-plain" in output
    assert "tiny-reinforced" in output


def test_continual_without_a_plan_says_how_it_is_called(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["continual", "--help"]) == 0
    assert "usage: zoo continual PLAN.json" in capsys.readouterr().out


def test_the_help_of_a_recipe_shows_its_fields_with_their_values(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", "tiny-plain", "--help"])
    assert stopped.value.code == 0
    output = " ".join(re.sub("[│─]", " ", capsys.readouterr().out).split())
    assert "--batch-size INT" in output
    assert "(default: runs/tiny-plain)" in output


@pytest.mark.parametrize(
    ("arguments", "named", "hint"),
    [
        (["lsit"], "lsit", "did you mean list?"),
        (["clasify", "photo.jpg"], "clasify", "did you mean classify?"),
        (["data", "tiny-wrld"], "data tiny-wrld", "did you mean data tiny-world?"),
        (["frobnicate"], "frobnicate", "`zoo --help` lists the commands."),
    ],
)
def test_an_unknown_command_is_named_with_the_nearest(
    arguments: list[str], named: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"zoo: Unknown command '{named}'; {hint}\n"


def test_a_group_of_commands_is_listed_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench"]) == 2
    message = capsys.readouterr().err
    group = [command for command in COMMANDS if command.startswith("bench ")]
    assert all(command in message for command in group) and "data" not in message


def test_list_shows_every_model_with_the_licence_of_its_weights(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["list"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    for card in list_models():
        licence = card.weights.licence if card.weights else "none"
        assert licence in rows[card.name]


@pytest.mark.parametrize(
    "spelling", ["mobileclip2-s0", "MobileCLIP2_S0", "apple/MobileCLIP2-S0", "MobileCLIP2 S0"]
)
def test_info_knows_a_model_in_any_spelling(
    spelling: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", spelling]) == 0
    output = capsys.readouterr().out
    assert output.splitlines()[0].split() == ["name", "mobileclip2-s0"]
    assert "apple/MobileCLIP2-S0/mobileclip2_s0.pt" in output


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PermissionError(13, "Permission denied", "a.pt"), "'a.pt' cannot be read or written"),
        (OSError(18, "Invalid link", "draft", None, "final"), "'final' cannot be read or written"),
        (OSError(28, "No space left on device"), "A file cannot be read or written"),
        (OSError("r.jsonl took 3 of 9 bytes."), "r.jsonl took 3 of 9 bytes."),
    ],
)
def test_what_the_operating_system_refuses_is_one_sentence(
    error: OSError,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("zoo.commands.models.list_models", fail)
    assert main(["list"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"zoo: {sentence}")
    assert (error.strerror or "") in line


def test_control_c_ends_with_130_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zoo.commands.models.list_models", interrupt)
    assert main(["list"]) == 130
    assert capsys.readouterr().err == "zoo: interrupted\n"


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise KeyError("ours")

    monkeypatch.setattr("zoo.commands.models.list_models", fail)
    with pytest.raises(KeyError):
        main(["list"])


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["info", "mobileclip2-s9"], "did you mean mobileclip2-s"),
        (["train", "tiny-plain", "--frobnicate", "3"], "--frobnicate"),
    ],
)
def test_the_installed_script_exits_with_2_and_no_traceback(
    arguments: list[str], fragment: str
) -> None:
    done = run_script(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert fragment in done.stderr
    assert "Traceback" not in done.stderr


def test_the_installed_script_stays_quiet_when_nobody_reads_on() -> None:
    """`zoo --help | head -0`: the pipe is closed before anything is written."""
    with subprocess.Popen(
        [SCRIPT, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1
