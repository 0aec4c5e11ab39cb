"""Shards come from and go to URLs whole, once, and each to a place of its own.

Run: .venv/bin/pytest tests/reinforced_data/shards/test_remote.py
"""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest

from zoo.reinforced_data.shards.find import find_shards
from zoo.reinforced_data.shards.remote import download, expand_urls, is_url, shard_name, upload


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    store = fsspec.filesystem("memory")
    yield store
    store.store.clear()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("s3://bucket/0.tar", True),
        ("pipe:cat 0.tar", True),
        ("https://host/{0..3}.tar", True),
        ("data/0.tar", False),
        ("/data/{0..3}.tar", False),
        ("C:/data/0.tar", False),
    ],
)
def test_urls_are_told_from_paths(spec: str, expected: bool) -> None:
    assert is_url(spec) is expected


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (Path("data/00000.tar"), "00000.tar"),
        ("s3://bucket/a.b/00000.tar", "00000.tar"),
        ("https://host/00000.tar?signature=x/y", "00000.tar"),
        ("pipe:aws s3 cp s3://bucket/00000.tar -", "00000.tar"),
        ("pipe:cat '/a folder/00000.tar'", "00000.tar"),
        ("hf://datasets/me/set/00000.reinforced.safetensors", "00000.reinforced.safetensors"),
    ],
)
def test_the_name_of_a_shard_is_found_in_its_url(spec: str | Path, name: str) -> None:
    assert shard_name(spec) == name


def test_a_url_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"names no \.tar"):
        shard_name("pipe:cat -")


def test_patterns_of_urls_are_expanded(memory: fsspec.AbstractFileSystem) -> None:
    for name in ("0.tar", "1.tar", "2.tar", "notes.txt"):
        memory.pipe(f"/set/{name}", b"x")
    urls = [f"memory://set/{number}.tar" for number in range(3)]
    assert [shard_name(url) for url in expand_urls("memory://set/*.tar")] == [
        shard_name(url) for url in urls
    ]
    assert expand_urls("memory://set/") == expand_urls("memory://set/*.tar")
    assert expand_urls("memory://set/{0..2}.tar") == urls
    assert expand_urls("pipe:cat /x/{1..2}.tar") == ["pipe:cat /x/1.tar", "pipe:cat /x/2.tar"]
    with pytest.raises(ValueError, match="No shard is matched"):
        expand_urls("memory://set/*.zip")


def test_a_copy_is_made_once_and_again_when_the_store_says_another_size(
    memory: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    memory.pipe("/set/0.tar", b"first")
    copy = download("memory://set/0.tar", tmp_path)
    assert copy.read_bytes() == b"first"
    made = copy.stat().st_mtime_ns
    assert download("memory://set/0.tar", tmp_path) == copy
    assert copy.stat().st_mtime_ns == made
    memory.pipe("/set/0.tar", b"second!")
    assert download("memory://set/0.tar", tmp_path).read_bytes() == b"second!"


def test_shards_of_one_name_from_two_places_stay_apart(
    memory: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    memory.pipe({"/a/0.tar": b"of a", "/b/0.tar": b"of b", "/a/0.reinforced.safetensors": b"s"})
    first, second = (download(f"memory://{place}/0.tar", tmp_path) for place in "ab")
    assert (first.read_bytes(), second.read_bytes()) == (b"of a", b"of b")
    sidecar = download("memory://a/0.reinforced.safetensors", tmp_path)
    assert sidecar.parent == first.parent


def test_a_missing_file_is_named(memory: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing at 'memory://set/9\.tar'"):
        download("memory://set/9.tar", tmp_path)


def test_an_unknown_protocol_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gopher"):
        download("gopher://set/0.tar", tmp_path)


def test_an_upload_can_be_downloaded(memory: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    source = tmp_path / "0.tar"
    source.write_bytes(b"shard")
    for folder in ("memory://out", f"file://{tmp_path}/new/folder", f"pipe:cat > {tmp_path}"):
        upload(source, f"{folder}/1.tar")
    assert memory.cat("/out/1.tar") == b"shard"
    assert (tmp_path / "new/folder/1.tar").read_bytes() == b"shard"
    assert (tmp_path / "1.tar").read_bytes() == b"shard"
    with pytest.raises(ValueError, match="Nothing can be written"):
        upload(source, "https://host/0.tar")


# Commands


def test_a_command_is_read_once(tmp_path: Path) -> None:
    source, calls = tmp_path / "0.tar", tmp_path / "calls"
    source.write_bytes(b"shard")
    url = f"pipe:echo called >> {calls}; cat {source}"
    with ThreadPoolExecutor(3) as pool:
        copies = set(pool.map(lambda _: download(url, tmp_path / "copies"), range(3)))
    assert [copy.read_bytes() for copy in copies] == [b"shard"]
    assert calls.read_text() == "called\n"


@pytest.mark.parametrize(
    "command", ["cat /no/such/0.tar", "printf x; exit 3 # 0.tar", "true 0.tar"]
)
def test_a_command_that_fails_leaves_no_file(tmp_path: Path, command: str) -> None:
    with pytest.raises(OSError, match="by hand"):
        download(f"pipe:{command}", tmp_path)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".lock"}


# The web


class _Server(http.server.BaseHTTPRequestHandler):
    """Serves 1,000 bytes; /cut/ stops after 100, /short/ has only 100, /broken/ fails."""

    def do_HEAD(self, size: int = 1000) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def do_GET(self) -> None:
        if self.path.startswith("/missing/"):
            self.send_error(404)
        elif self.path.startswith("/broken/"):
            self.send_error(500)
        elif self.path.startswith("/short/"):
            self.do_HEAD(100)
            self.wfile.write(b"x" * 100)
        else:
            self.do_HEAD()
            self.wfile.write(b"x" * (100 if self.path.startswith("/cut/") else 1000))

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Server)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_shard_comes_over_http(web: str, tmp_path: Path) -> None:
    assert download(f"{web}/set/0.tar", tmp_path).read_bytes() == b"x" * 1000


@pytest.mark.parametrize("place", ["cut", "short", "broken", "missing"])
def test_what_does_not_come_whole_leaves_no_file(web: str, tmp_path: Path, place: str) -> None:
    with pytest.raises(OSError, match=rf"/{place}/0\.tar"):
        download(f"{web}/{place}/0.tar", tmp_path)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".lock"}


def test_a_url_given_as_a_path_is_refused_with_a_hint() -> None:
    with pytest.raises(ValueError, match="is a URL, and this reads local files"):
        find_shards("s3://bucket/{0..3}.tar")
