"""An exported model in Chromium: the page that morphs one melody into another decodes what PyTorch does."""

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from musicae.inference.latent_paths import slerp
from musicae.trained import TrainedModel, load

pytest.importorskip("onnxruntime", reason="the extra onnx")
pytest.importorskip("onnx", reason="the extra onnx")

PAGE = Path(__file__).resolve().parents[2] / "notebooks" / "morph_in_browser.html"
PARTS = ("encoder", "to_base", "from_base", "decoder", "step")
RUNTIME = tuple(
    f"dist/{name}" for name in ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
)
ENDS = (
    ([64, 64, 65, 67, 67, 65, 64, 62], 4),
    ([67, 64, 60, 64, 67, 72, 67, 64, 65, 62, 59, 62, 67, 71, 67, 62], 2),
)
"""The melodies of the page: MIDI pitches, and the sixteenths that each lasts."""
PERCENT = 101
_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_TO_PITCH, _PAD, _SLOT, _BAR = 19, 90, 18, 16
_WAIT_MS = 60_000
_HEARD = """
window.heard = [];
window.OscillatorNode = class extends window.OscillatorNode {
  constructor(context, options) { super(context, options); window.heard.push(options.frequency); }
};
"""
"""Keeps what oscillators are told, since a test hears nothing."""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


class Site(NamedTuple):
    """A folder that is served."""

    folder: Path
    address: str
    model: TrainedModel


@pytest.fixture(scope="module")
def site(
    browser_path: str, npm_package: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """What docs/how-to/export.md puts into one folder; of onnxruntime-web only what the page needs."""
    package = npm_package("onnxruntime-web")
    folder = tmp_path_factory.mktemp("site")
    for name in RUNTIME:
        target = folder / "node_modules" / "onnxruntime-web" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(package / name, target)
    shutil.copy(PAGE, folder)
    model = load("melody-2bar", "cpu")
    model.export(folder, parts=PARTS)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Site(folder, f"http://127.0.0.1:{server.server_port}/", model)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of nothing yet."""
    context = browser.new_context()
    opened = context.new_page()
    opened.set_default_timeout(_WAIT_MS)
    yield opened
    context.close()


class Visit(NamedTuple):
    """The page in a browser, what it asked the server for, and what went wrong."""

    page: Page
    requested: list[str]
    errors: list[str]


@pytest.fixture(scope="module")
def visit(browser: Browser, site: Site) -> Iterator[Visit]:
    """One visit for all tests that complain of nothing, since a visit reads 36 MB; each moves the slider first."""
    context = browser.new_context(viewport={"width": 360, "height": 800})
    visited = Visit(context.new_page(), [], [])
    page, requested, errors = visited
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    page.set_default_timeout(_WAIT_MS)
    page.add_init_script(_HEARD)
    page.goto(site.address + PAGE.name)
    expect(page.get_by_role("button", name="Play")).to_be_enabled(timeout=_WAIT_MS)
    yield visited
    context.close()
    assert errors == []


def _at(page: Page, percent: int) -> str:
    """Moves the slider; returns the notes that the page then names."""
    page.get_by_role("slider").fill(str(percent))
    expect(page.locator("#where")).to_have_text(str(percent))
    return page.text_content("#notes") or ""


def _window(pitches: list[int], length: int) -> torch.Tensor:
    symbols = torch.zeros(1, 2 * _SLOT, 1, dtype=torch.int64)
    symbols.view(2, _SLOT)[:, _BAR:] = _PAD
    for place, pitch in enumerate(pitches):
        bar, step = divmod(place * length, _BAR)
        symbols.view(2, _SLOT)[bar, step] = pitch - _TO_PITCH
    return symbols


@torch.no_grad()
def _path(model: TrainedModel) -> list[str]:
    """The notes of every point, by PyTorch, as the page names them."""
    a, b = (model.network.latent.to_base(model.encode(_window(*end)))[0] for end in ENDS)
    decoded = model.decode(model.network.latent.from_base(slerp(a, b, PERCENT)), time_signature="4/4")
    return [_named(symbols.view(2, _SLOT)[:, :_BAR].flatten().tolist()) for symbols in decoded]


def _named(symbols: list[int]) -> str:
    begins = [step for step, symbol in enumerate(symbols) if symbol or not step]
    lengths = [after - step for step, after in zip(begins, [*begins[1:], len(symbols)], strict=True)]
    pitches = [symbols[step] + _TO_PITCH if symbols[step] >= 2 else None for step in begins]
    names = ["rest" if pitch is None else f"{_NAMES[pitch % 12]}{pitch // 12 - 1}" for pitch in pitches]
    return ", ".join(f"{name} {length}" for name, length in zip(names, lengths, strict=True))


def test_the_page_decodes_what_the_model_does_and_asks_nobody_else(visit, site):
    expected = _path(site.model)
    points = (0, 30, 50, 70, 100)
    found = {percent: _at(visit.page, percent) for percent in points}
    assert found == {percent: expected[percent] for percent in points}
    assert found[0] == "E4 4, E4 4, F4 4, G4 4, G4 4, F4 4, E4 4, D4 4"
    assert len(set(found.values())) >= 3
    assert re.fullmatch(r"Decoding these two bars took \d+ ms\.", visit.page.text_content("#said"))
    files = {"card.json", PAGE.name, *(f"{part}.onnx" for part in PARTS)}
    files |= {f"node_modules/onnxruntime-web/{name}" for name in RUNTIME}
    assert set(visit.requested) == {site.address + file for file in files}


def test_the_page_is_drawn_and_played_and_needs_no_mouse(visit):
    page = visit.page
    page.get_by_role("slider").press("Home")
    expect(page.locator("#where")).to_have_text("0")
    first = page.locator("#roll").screenshot()
    page.get_by_role("slider").press("End")
    expect(page.locator("#where")).to_have_text("100")
    assert page.locator("#roll").screenshot() != first
    page.get_by_role("slider").press("Home")
    expect(page.locator("#where")).to_have_text("0")
    page.get_by_role("button", name="Play").press("Enter")
    page.wait_for_function("heard.length >= 2")
    assert page.evaluate("heard.slice(0, 2)") == [pytest.approx(440 * 2 ** ((64 - 69) / 12))] * 2
    page.get_by_role("button", name="Stop").press("Enter")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    count = page.evaluate("heard.length")
    page.wait_for_timeout(300)
    assert page.evaluate("heard.length") == count
    assert page.locator("#roll").screenshot() == first


def test_the_page_fits_small_screens_and_is_accessible(visit, npm_package):
    page = visit.page
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.evaluate((npm_package("axe-core") / "axe.min.js").read_text(encoding="utf-8"))
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("axe.run()")["violations"] == [], scheme


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        (
            "encoder.onnx",
            'The server has no ./encoder.onnx; put what "musicae export" writes of melody-2bar beside this page.',
        ),
        ("ort.wasm.min.mjs", "install onnxruntime-web beside this page, with npm."),
    ],
)
def test_a_file_that_is_missing_is_named(page, site, missing, sentence):
    page.route(f"**/{missing}", lambda route: route.fulfill(status=404))
    page.goto(site.address + PAGE.name)
    expect(page.get_by_role("alert")).to_contain_text(sentence)
    assert page.get_by_role("slider").is_disabled()


def test_another_model_is_refused_in_a_sentence(page, site):
    card = '{"model": "denoise-48k", "network": "unet", "tensors": {"layout": "grid"}}'
    page.route("**/card.json", lambda route: route.fulfill(body=card, content_type="application/json"))
    page.goto(site.address + PAGE.name)
    expect(page.get_by_role("alert")).to_have_text(
        "This page morphs melodies of two bars, which denoise-48k is no model of; export melody-2bar."
    )
