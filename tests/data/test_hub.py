"""The public repository: a download by the real client from a server made here, and its failures."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import data_kit as kit
import pytest

from prunery.data import hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LOAD = """
import json, sys, time
sys.path.insert(0, {tests!r})
import data_kit as kit
import huggingface_hub, torch  # seconds on a busy machine, and not what is timed
from prunery.data.names import DATASETS
from prunery.data.sets import load
from prunery.errors import DataError
DATASETS["tiny"] = kit.facts()
start = time.perf_counter()
try:
    made = load("tiny")
    found = [made.revision, made.content]
except DataError as error:
    found = str(error)
print(json.dumps([found, time.perf_counter() - start]))
"""


class _Repository(BaseHTTPRequestHandler):
    """As much of the hub as the client asks for."""

    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self):
        path = self.path.split("?")[0]
        self.asked.append(f"{self.command} {path}")
        if path.startswith("/api/datasets/someone/tiny/tree/"):
            self._send(json.dumps([self._entry(name) for name in self.files]).encode())
        elif path.startswith("/api/datasets/someone/tiny"):
            siblings = [{"rfilename": name} for name in self.files]
            self._send(json.dumps({"id": "someone/tiny", "sha": COMMIT, "siblings": siblings}).encode())
        elif (name := path.partition(f"/resolve/{COMMIT}/")[2]) in self.files:
            self._send(self.files[name], hashlib.sha256(self.files[name]).hexdigest())
        else:
            self.send_error(404)

    do_HEAD = do_GET  # noqa: N815

    def _entry(self, name):
        return {"type": "file", "path": name, "size": len(self.files[name]), "oid": "0" * 40}

    def _send(self, body, etag="x"):
        self.send_response(200)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Content-Length": len(body)}
        for header, value in headers.items():
            self.send_header(header, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def repository(tmp_path):
    """The address of a hub that has the tiny set, and what was asked of it."""
    folder = kit.write(tmp_path / "served")
    _Repository.files = {f"plain/{p.name}": p.read_bytes() for p in folder.iterdir()} | {"README.md": b"tiny"}
    _Repository.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Repository)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", _Repository.asked
    server.shutdown()


def _load(endpoint, home, **variables):
    """What loading the tiny set in a fresh process gives, and its seconds."""
    clean = {k: v for k, v in os.environ.items() if k != "PRUNERY_DATA" and "proxy" not in k.lower()}
    home.mkdir(exist_ok=True)
    places = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home / "hf"), "PRUNERY_CACHE": str(home / "cache")}
    ran = subprocess.run(
        [sys.executable, "-c", LOAD.format(tests=str(Path(__file__).parents[1] / "kits"))],
        env={**clean, **places, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_a_set_is_downloaded_with_its_commit_and_kept(repository, tmp_path):
    endpoint, asked = repository
    (revision, content), _ = _load(endpoint, tmp_path / "home")
    assert revision == COMMIT
    assert not any("README" in request for request in asked)  # only the parquet files are fetched
    asked.clear()
    assert _load(endpoint, tmp_path / "home")[0] == [COMMIT, content]
    assert asked == []  # the cache served


def test_the_download_of_another_tool_is_used_without_a_network(repository, tmp_path):
    endpoint, asked = repository
    (_, content), _ = _load(endpoint, tmp_path / "home")
    asked.clear()
    other_cache = {"PRUNERY_CACHE": str(tmp_path / "elsewhere")}
    assert _load(endpoint, tmp_path / "home", **other_cache)[0] == [COMMIT, content]
    assert not any(request.startswith("GET") for request in asked)


@pytest.mark.parametrize("variables", [{}, {"HF_HUB_OFFLINE": "1"}])
def test_without_a_network_the_error_comes_at_once_and_says_what_to_do(tmp_path, variables):
    message, seconds = _load("http://127.0.0.1:9", tmp_path / "home", **variables)
    for part in ("'tiny'", "PRUNERY_DATA is not set", "someone/tiny", "tiny/plain/*.parquet", "'digits'"):
        assert part in message
    assert seconds < 3


def test_a_repository_without_the_set_is_an_error(repository, tmp_path):
    endpoint, _ = repository
    _Repository.files = {"README.md": b""}
    message, _ = _load(endpoint, tmp_path / "home")
    assert "has no plain/train-*.parquet" in message


def test_a_name_server_that_hangs_is_not_waited_for(monkeypatch):
    import huggingface_hub

    def hang(*args, **options):
        time.sleep(30)

    def nothing(*args, **options):
        raise FileNotFoundError

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", hang)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", nothing)
    start = time.perf_counter()
    with pytest.raises(hub.HubError, match="no answer within 2 s"):
        hub.snapshot(kit.facts())
    assert time.perf_counter() - start < 3
