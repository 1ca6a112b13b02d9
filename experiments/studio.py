"""The studio as a visitor has it: how soon a slider is heard, what the page weighs, what many clients at once do."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any

from musicae.starter import starter_file
from musicae.studio.page_scripts import PAGE, SCRIPTS, sound_font

MODEL = "melody-2bar"
_CLIENTS, _LASTING_S, _MOVES = 50, 30.0, 40
_BROWSER = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"),
)
# What is shown is decoded beforehand; only the synthesizer has to be told. `note` says when a note will begin.
_MORPH = """async (moves) => {
    const { player } = await import("/assets/player.js");
    const slider = document.querySelector("#morph-slider");
    const found = [];
    for (let move = 0; move < moves; move += 1) {
        await new Promise((resolve) => setTimeout(resolve, 137));
        const began = performance.now();
        const first = new Promise((resolve) => player.addEventListener("note", (event) => resolve(event.detail.time), { once: true }));
        slider.value = (move * 5) % 9;
        slider.dispatchEvent(new Event("input"));
        const time = await first;
        const scheduled = performance.now() - began;
        const { context } = player;
        found.push([scheduled, 1000 * Math.max(0, time - context.currentTime), 1000 * (context.baseLatency + context.outputLatency)]);
    }
    return found;
}"""  # noqa: E501
_SHAPE = """async ([model, item, moves]) => {
    const api = await import("/assets/api.js");
    const { player } = await import("/assets/player.js");
    const found = [];
    for (let move = 0; move < moves; move += 1) {
        const began = performance.now();
        const amounts = { density: ((move % 9) - 4) / 2 + 0.1 };
        const answer = await api.compute("shift", { model, item, amounts });
        const answered = performance.now();
        player.swap(answer.items[0]);
        found.push([answer.computed_ms, answered - began - answer.computed_ms, performance.now() - answered]);
    }
    return found;
}"""
_WAV = """async ([ids]) => {
    const api = await import("/assets/api.js");
    const { player } = await import("/assets/player.js");
    const found = [];
    for (const id of ids) {
        const began = performance.now();
        await player.context.decodeAudioData(await (await api.file(id, "wav")).arrayBuffer());
        found.push(performance.now() - began);
    }
    return found;
}"""


def studio(sets: Path, runs: Path) -> dict[str, Any]:
    """Medians in milliseconds, of two cores; kilobytes; counts of statuses, and memory before and after."""
    del sets, runs
    with _running() as (address, process, start_s):
        return {"start_s": round(start_s, 2), **_page_weight(), **_sliders(address), **_many(address, process)}


@contextmanager
def _running() -> Iterator[tuple[str, "subprocess.Popen[str]", float]]:
    """The studio with one model; its address, its process, and how long it took to answer."""
    with tempfile.TemporaryDirectory() as folder:
        began, start_s = time.monotonic(), 0.0
        process = subprocess.Popen(
            [sys.executable, "-m", "musicae.cli", "studio", "--no-open", "--port", "0", "--model", MODEL],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip().rstrip("/")
            while True:
                status = json.load(urllib.request.urlopen(f"{address}/api/status"))  # waits for the server
                start_s = start_s or time.monotonic() - began
                if not status["loading"]:
                    break
                time.sleep(0.02)
            yield address, process, start_s
        finally:
            process.terminate()
            process.wait()


def _page_weight() -> dict[str, float]:
    own = [PAGE / "index.html", *(PAGE / "assets").iterdir()]
    font = sound_font()
    return {
        "own_kb": round(sum(file.stat().st_size for file in own) / 1000, 1),
        "scripts_kb": round(sum(script.file.stat().st_size for script in SCRIPTS) / 1000, 1),
        "font_kb": 0.0 if font is None else round(font.stat().st_size / 1000, 1),
    }


def _sliders(address: str) -> dict[str, float]:
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_BROWSER))
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("#morph-strip button")
        page.click("#play")
        page.wait_for_timeout(3000)
        morph = page.evaluate(_MORPH, _MOVES)
        sample = _ask(address, "sample", {"model": MODEL, "count": 1, "seed": 1})["items"][0]["id"]
        shape = page.evaluate(_SHAPE, [MODEL, sample, _MOVES])
        ids = [item["id"] for item in _ask(address, "sample", {"model": MODEL, "count": 12, "seed": 2})["items"]]
        wav = page.evaluate(_WAV, [ids])
        browser.close()
    columns = {
        "morph_scheduled_ms": [row[0] for row in morph],
        "morph_ahead_ms": [row[1] for row in morph],
        "output_latency_ms": [row[2] for row in morph],
        "morph_total_ms": [sum(row) for row in morph],
        "shape_decoded_ms": [row[0] for row in shape],
        "shape_transport_ms": [row[1] for row in shape],
        "shape_scheduled_ms": [row[2] for row in shape],
        "shape_total_ms": [sum(row) for row in shape],
        "wav_instead_ms": wav,
    }
    return {name: round(statistics.median(values), 1) for name, values in columns.items()}


def _many(address: str, process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Clients in parallel that sample again and again."""
    item = _upload(address)
    _ask(address, "vary", {"model": MODEL, "item": item, "count": 4, "seed": 0})
    until, counts = time.monotonic() + _LASTING_S, dict[int, int]()
    before = _memory_mb(process)

    def client(number: int) -> list[int]:
        statuses = []
        while time.monotonic() < until:
            statuses.append(_status(address, "vary", {"model": MODEL, "item": item, "count": 2, "seed": number}))
            number += _CLIENTS
        return statuses

    with ThreadPoolExecutor(_CLIENTS) as threads:
        for statuses in threads.map(client, range(_CLIENTS)):
            for status in statuses:
                counts[status] = counts.get(status, 0) + 1
    return {
        "statuses": {str(status): count for status, count in sorted(counts.items())},
        "memory_before_mb": before,
        "memory_after_mb": _memory_mb(process),
    }


def _memory_mb(process: "subprocess.Popen[str]") -> float:
    pages = int(Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii").split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def _upload(address: str) -> str:
    data = starter_file("a.mid").read_bytes()
    answer = urllib.request.urlopen(urllib.request.Request(f"{address}/api/media?name=a.mid", data))
    return str(json.load(answer)["id"])


def _request(address: str, operation: str, body: dict[str, Any]) -> urllib.request.Request:
    data = json.dumps(body).encode()
    return urllib.request.Request(f"{address}/api/{operation}", data, {"Content-Type": "application/json"})


def _ask(address: str, operation: str, body: dict[str, Any]) -> dict[str, Any]:
    with urllib.request.urlopen(_request(address, operation, body)) as answer:
        return dict(json.load(answer))


def _status(address: str, operation: str, body: dict[str, Any]) -> int:
    try:
        with urllib.request.urlopen(_request(address, operation, body)) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            error.read()
            return error.code
