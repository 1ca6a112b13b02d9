"""A studio on loopback, as the command starts it."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from musicae.starter import starter_file

MODELS = ("melody-2bar", "melody-16bar", "drums-2bar", "denoise-48k")
ROOT = Path(__file__).resolve().parents[2]
_START_S = 120


class Answer(NamedTuple):
    """What the studio answered."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Studio(NamedTuple):
    """A running studio."""

    address: str
    token: str = ""

    def ask(
        self, path: str, body: Any = None, *, method: str | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Sends a request; `body` is bytes, or what becomes JSON."""
        sent = {"X-Musicae-Token": self.token, **(headers or {})} if self.token else dict(headers or {})
        data = body
        if body is not None and not isinstance(body, bytes):
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        request = urllib.request.Request(self.address + path, data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return Answer(answer.status, answer.read(), dict(answer.headers))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read(), dict(error.headers))

    def upload(self, path: Path, name: str | None = None) -> dict[str, Any]:
        """Gives it a file."""
        answer = self.ask(f"/api/media?name={name or path.name}", path.read_bytes())
        assert answer.status == 200, answer.body
        return dict(answer.json)

    def compute(self, operation: str, **body: Any) -> dict[str, Any]:
        """An operation that works."""
        answer = self.ask(f"/api/{operation}", body)
        assert answer.status == 200, answer.body
        return dict(answer.json)


def start(folder: Path, *options: str) -> tuple[subprocess.Popen[str], str]:
    """Starts the command in a folder; returns the process and the address that it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    port = () if "--port" in options else ("--port", "0")
    process = subprocess.Popen(
        [sys.executable, "-m", "musicae.cli", "studio", "--no-open", *port, *options],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Ends it as Ctrl-C would, and returns what it wrote."""
    process.send_signal(2)
    try:
        return process.communicate(timeout=60)
    finally:
        process.kill()


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio with four models, all loaded."""
    options = [word for name in MODELS for word in ("--model", name)]
    process, address = start(tmp_path_factory.mktemp("studio"), *options)
    running = Studio(address.rstrip("/"))
    try:
        until = time.monotonic() + _START_S
        while time.monotonic() < until:
            try:
                if not running.ask("/api/status").json["loading"]:
                    break
            except urllib.error.URLError:
                pass
            time.sleep(0.2)
        else:
            pytest.fail(f"the studio did not start: {end(process)}")
        yield running
    finally:
        out, error = end(process)
        assert process.returncode == 0, (out, error)
        assert "Traceback" not in error, error


@pytest.fixture(scope="session")
def files(studio: Studio) -> dict[str, dict[str, Any]]:
    """The starter files, on the studio's shelf."""
    return {name: studio.upload(starter_file(name)) for name in ("a.mid", "b.mid", "noisy.wav")}
