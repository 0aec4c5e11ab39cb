"""The rooms import only what the architecture allows, and the front door is light.

.venv/bin/pytest tests/zoo/test_import_rules.py
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ALLOWED = {
    "models": {"models"},
    "reinforced_data": {"reinforced_data", "models"},
    "training": {"training", "reinforced_data", "models"},
    "eval": {"eval", "models"},
    "export": {"export", "models"},
}
HEAVY = {
    "coremltools",
    "cv2",
    "executorch",
    "faiss",
    "gradio",
    "matplotlib",
    "open_clip",
    "peft",
    "pycocotools",
    "ray",
    "rich",
    "simplejpeg",
    "tensorboard",
    "torchmetrics",
    "timm",
    "torchvision",
    "transformers",
    "tyro",
    "webdataset",
    "wandb",
}


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import by the full name, not relatively"
            yield node.module or ""


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_the_rooms_it_may(room: str) -> None:
    files = list((ROOT / room).rglob("*.py"))
    assert files
    for path in files:
        rooms = {
            module.split(".")[1] if "." in module else "front door"
            for module in imported_modules(path)
            if module.split(".")[0] == "zoo"
        }
        assert rooms <= ALLOWED[room], path


def test_nobody_imports_a_room_by_its_top_level_name() -> None:
    for folder in (*ALLOWED, "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            tops = {module.split(".")[0] for module in imported_modules(path)}
            assert not tops & ALLOWED.keys(), path


def test_importing_zoo_loads_no_heavy_library() -> None:
    code = f"import sys, zoo; print(sorted(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
