"""An archive is fetched once, in pieces if need be, and unpacked whole or not at all.

.venv/bin/pytest tests/models/fastvlm/test_published_archives.py
"""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from zoo.models.fastvlm.published import fetch_archive


class Server(ThreadingHTTPServer):
    """Serves `content`, `limit` bytes at a time, from where the request's Range begins."""

    content: bytes = b""
    limit: int | None = None
    requests: list[str]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        asked = self.headers.get("Range", "bytes=0-")
        server.requests.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        self.send_response(416 if start >= len(server.content) else 206 if start else 200)
        self.send_header("Content-Length", str(max(0, len(server.content) - start)))
        self.end_headers()
        end = None if server.limit is None else start + server.limit
        self.wfile.write(server.content[start:end])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with Server(("127.0.0.1", 0), Handler) as server:
        server.requests = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/model.zip"


def archive(names: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, text in names.items():
            opened.writestr(name, text)
    return buffer.getvalue()


MODEL = archive({"model/config.json": "{}", "model/weights": "x" * 1000})


def test_the_folder_that_holds_the_model_is_returned_and_fetched_once(
    server: Server, tmp_path: Path
) -> None:
    server.content = MODEL
    for _ in range(2):
        folder = fetch_archive(url(server), tmp_path / "cache" / "stage2")
        assert folder == tmp_path / "cache" / "stage2" / "model"
    assert len(server.requests) == 1
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["stage2"]


def test_a_download_that_broke_off_goes_on_where_it_ended(server: Server, tmp_path: Path) -> None:
    server.content, server.limit = MODEL, 700
    with pytest.raises(FileNotFoundError, match="try again"):
        fetch_archive(url(server), tmp_path / "stage2")
    assert not (tmp_path / "stage2").exists()
    server.limit = None
    folder = fetch_archive(url(server), tmp_path / "stage2")
    assert (folder / "weights").read_text() == "x" * 1000
    assert server.requests == ["bytes=0-", "bytes=700-"]


def test_a_damaged_archive_is_removed(server: Server, tmp_path: Path) -> None:
    server.content = b"not a zip"
    with pytest.raises(ValueError, match="no sound zip archive"):
        fetch_archive(url(server), tmp_path / "stage2")
    assert list(tmp_path.iterdir()) == []


def test_an_archive_cannot_write_outside_of_its_folder(server: Server, tmp_path: Path) -> None:
    server.content = archive({"../stray": "x", "model/config.json": "{}"})
    with pytest.raises(ValueError, match="outside"):
        fetch_archive(url(server), tmp_path / "cache" / "stage2")
    assert not (tmp_path / "cache" / "stray").exists()
    assert not (tmp_path / "cache" / "stage2").exists()


def test_without_a_network_it_is_said_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError, match="pass weights="):
        fetch_archive("http://127.0.0.1:9/model.zip", tmp_path / "stage2")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match="HF_HUB_OFFLINE"):
        fetch_archive("http://127.0.0.1:9/model.zip", tmp_path / "stage2")
