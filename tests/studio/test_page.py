"""The studio's page in Chromium, as a visitor uses it: every tab, small and large windows, and what goes wrong."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from playwright.sync_api import Browser, Page, Request, expect

import musicae
from musicae.music.piece import Piece
from musicae.starter import starter_file
from tests.studio.conftest import Studio, end, start

_WAIT_MS = 60_000


class Visit:
    """A page that is open, and what went wrong in it."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._requested)
        page.set_default_timeout(_WAIT_MS)

    def _requested(self, request: Request) -> None:
        if not request.url.startswith(("blob:", "data:")):
            self.requests.append(request.url)

    def forget_refusals(self) -> None:
        """Of what the browser noted, what was refused on purpose."""
        self.errors = [error for error in self.errors if "422" not in error]

    def open(self, path: str = "/") -> Page:
        self.page.goto(self.address + path)
        self.page.wait_for_selector("#morph-strip button, #morph-pad button", state="attached")
        return self.page


@pytest.fixture
def visit(browser: Browser, studio: Studio) -> Iterator[Visit]:
    """A visitor with a window of their own; nothing went wrong, and nothing was asked for elsewhere."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    visited = Visit(context.new_page(), studio.address)
    yield visited
    context.close()
    assert visited.errors == []
    assert {url for url in visited.requests if not url.startswith(f"{studio.address}/")} == set()


def _heard(page: Page) -> float:
    """Root mean square of what the page plays."""
    level: float = page.evaluate(
        """async () => {
            const { player } = await import("/assets/player.js");
            if (!player.analyser) return 0;
            const samples = new Float32Array(player.analyser.fftSize);
            player.analyser.getFloatTimeDomainData(samples);
            return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
        }"""
    )
    return level


def _position_s(page: Page) -> float:
    return float((page.text_content("#time") or "").removesuffix(" s"))


def _wait_for_sound(page: Page) -> None:
    for _ in range(200):
        if _heard(page) > 1e-4:
            return
        page.wait_for_timeout(50)
    pytest.fail("nothing is heard")


def _until(page: Page, condition: str, longest_ms: int = _WAIT_MS) -> None:
    """Waits for something to be true in the page; Playwright's own way evaluates text there, which the page forbids."""
    for _ in range(longest_ms // 100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"never true: {condition}")


def _download(page: Page, selector: str) -> bytes:
    with page.expect_download() as started:
        page.click(selector)
    return Path(started.value.path()).read_bytes()


def _step(page: Page, number: int) -> None:
    """Moves the slider, as a drag does."""
    page.eval_on_selector(
        "#morph-slider",
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }",
        number,
    )


def test_two_files_are_morphed_heard_and_downloaded(visit, tmp_path):
    page = visit.open()
    for place, name in enumerate(("b.mid", "a.mid")):
        page.locator("#morph-slots input").nth(place).set_input_files(starter_file(name))
        expect(page.locator("#morph-slots strong").nth(place)).to_contain_text(name)
    _until(page, "document.querySelector('#said').textContent === ''")
    page.wait_for_timeout(300)
    page.click("#play")
    _wait_for_sound(page)
    before = _position_s(page)
    page.wait_for_timeout(400)
    assert _position_s(page) != before
    middle = _download(page, "#morph-downloads button:has-text('MID')")
    _step(page, 4)
    assert page.text_content("#morph-where") == "5 of 9"
    _wait_for_sound(page)
    assert page.get_attribute("#play", "aria-label") == "Pause"
    other = _download(page, "#morph-downloads button:has-text('MID')")
    pieces = [Piece.open(data) for data in (middle, other)]
    assert [piece.bars for piece in pieces] == [2, 2] and pieces[0].data != pieces[1].data
    picture = _download(page, "#morph-downloads button:has-text('PNG')")
    assert picture.startswith(b"\x89PNG")


def test_a_step_is_heard_from_the_same_place(visit):
    page = visit.open()
    page.click("#play")
    _wait_for_sound(page)
    page.wait_for_timeout(600)
    moved = page.evaluate(
        """async () => {
            const { player } = await import("/assets/player.js");
            const slider = document.querySelector("#morph-slider");
            const before = player.position;
            slider.value = 6;
            slider.dispatchEvent(new Event("input"));
            return [before, player.position, player.playing];
        }"""
    )
    assert moved[2] and abs(moved[1] - moved[0]) < 0.1


def test_keys_play_move_and_go_from_tab_to_tab(visit):
    page = visit.open()
    page.focus("#morph-slider")
    page.keyboard.press("ArrowRight")
    assert page.text_content("#morph-where") == "2 of 9"
    page.keyboard.press("Space")
    _wait_for_sound(page)
    page.keyboard.press("Space")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")
    page.focus("#tab-morph")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#shape")).to_be_visible()
    expect(page.locator("#tab-shape")).to_be_focused()
    outline = page.eval_on_selector("#tab-shape", "tab => getComputedStyle(tab).outlineStyle")
    assert outline != "none"


def test_four_corners_make_a_pad(visit):
    page = visit.open()
    page.check("#morph-corners")
    page.wait_for_selector("#morph-pad button")
    assert page.locator("#morph-pad button").count() == 25
    page.locator("#morph-pad button").nth(12).click()
    expect(page.locator("#morph-pad button").nth(12)).to_have_attribute("aria-pressed", "true")


def test_music_is_made_up_shifted_and_varied(visit):
    page = visit.open()
    page.click("#tab-shape")
    page.wait_for_selector("#shift-sliders input")
    page.fill("#sample-key", "D minor")
    page.click("#sample-go")
    page.wait_for_selector("#shape-found button")
    assert page.locator("#shape-found button").count() == 4
    made = _download(page, "#shape-downloads button:has-text('MID')")
    slider = page.locator("#shift-sliders input").first
    slider.fill("2")
    _until(page, "document.querySelector('#shift-kept').textContent.includes('Kept')")
    denser = _download(page, "#shape-downloads button:has-text('MID')")
    assert Piece.open(denser).note_count > Piece.open(made).note_count
    page.click("#vary-go")
    _until(page, "document.querySelector('#shape-found button').textContent.includes('variation')")
    page.fill("#sample-key", "H")
    page.click("#sample-go")
    expect(page.locator("#shape-error")).to_contain_text("key")
    visit.forget_refusals()


def test_bars_of_a_song_are_filled_in(visit):
    page = visit.open()
    page.click("#tab-shape")
    page.locator("#shape-slot input").set_input_files(starter_file("b.mid"))
    expect(page.locator("#shape-slot strong")).to_contain_text("b.mid")
    page.click("#infill-go")
    expect(page.locator("#shape-error")).to_contain_text("5-6")
    page.fill("#shape-range", "5-6")
    page.click("#infill-go")
    _until(page, "document.querySelectorAll('#shape-found button').length === 3")
    data = _download(page, "#shape-downloads button:has-text('MID')")
    assert Piece.open(data).bars == Piece.open(starter_file("b.mid")).bars


def test_a_map_is_drawn_and_heard(visit):
    page = visit.open()
    page.click("#tab-map")
    page.click("#map-starters")
    expect(page.locator("#map-said")).to_contain_text("windows of 2 files")
    page.focus("#map-canvas")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#map-said")).to_contain_text("bar 1")
    _wait_for_sound(page)
    page.locator("#map-files").set_input_files([starter_file("a.mid"), starter_file("b.mid")])
    expect(page.locator("#map-said")).to_contain_text("of 2 files")


def test_a_recording_is_cleaned_and_compared_at_the_same_place(visit):
    page = visit.open()
    page.click("#tab-clean")
    page.locator("#clean-slot input").set_input_files(starter_file("noisy.wav"))
    expect(page.locator("#clean-go")).to_be_enabled()
    page.click("#clean-go")
    page.wait_for_selector("#clean-downloads button:has-text('WAV')")
    expect(page.locator("input[name=heard][value=after]")).to_be_checked()
    assert page.locator("#clean-pictures img").count() == 2
    page.click("#play")
    page.wait_for_timeout(700)
    before = _position_s(page)
    page.check("input[name=heard][value=removed]")
    assert 0 <= _position_s(page) - before < 0.5
    _wait_for_sound(page)
    samples, rate_hz = soundfile.read(io.BytesIO(_download(page, "#clean-downloads button:has-text('WAV')")))
    noisy, _ = soundfile.read(starter_file("noisy.wav"))
    assert rate_hz == 16_000 and len(samples) == len(noisy) and np.square(samples).mean() < np.square(noisy).mean()


def test_a_training_runs_is_stopped_and_goes_on(visit):
    page = visit.open()
    page.click("#tab-train")
    page.fill("#train-steps", "5")
    page.select_option("#train-from", "melody-2bar")
    page.click("#train-start")
    expect(page.locator("#train-command")).to_contain_text("musicae train --domain music")
    _until(page, "document.querySelector('#train-said').textContent.includes('Done')", 180_000)
    assert page.text_content("#train-error") == ""
    assert "5 updates" in (page.text_content("#train-said") or "")
    page.wait_for_selector("#train-previews img")
    page.click("#train-use")
    expect(page.locator("#train-said")).to_contain_text("among the models")
    expect(page.locator("#morph-model option", has_text="music-reconstruct")).to_have_count(1)


def test_a_folder_is_looked_at_learned_from_stopped_and_gone_on_with(visit, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("a.mid", "b.mid"):
        (folder / name).write_bytes(starter_file(name).read_bytes())
    page = visit.open()
    page.click("#tab-train")
    page.locator("#train-folder").set_input_files(folder)
    expect(page.locator("#train-inspection")).to_contain_text("In all: ")
    expect(page.locator("#train-inspection")).not_to_contain_text("/tmp")
    page.fill("#train-steps", "400")
    page.click("#train-start")
    _until(page, "/update \\d+/.test(document.querySelector('#train-said').textContent)", 120_000)
    page.click("#train-stop")
    _until(page, "document.querySelector('#train-said').textContent.includes('Stopped')", 120_000)
    before = int(re.search(r"(\d+) updates", page.text_content("#train-said") or "")[1])
    page.click("#train-continue")
    _until(page, "document.querySelector('#train-stop').disabled === false")
    _until(
        page,
        f"Number(document.querySelector('#train-said').textContent.match(/update (\\d+)/)?.[1]) > {before}",
        120_000,
    )
    page.click("#train-stop")
    _until(page, "document.querySelector('#train-said').textContent.includes('Stopped')", 120_000)


def test_broken_and_wrong_files_are_said_where_they_were_dropped(visit):
    page = visit.open()
    for name, data, words in (("broken.mid", b"MThd nonsense", "broken.mid"), ("a.txt", b"x", "neither music")):
        page.locator("#morph-slots input").first.set_input_files(
            {"name": name, "mimeType": "audio/midi", "buffer": data}
        )
        expect(page.locator("#morph-error")).to_contain_text(words)
    assert page.locator("#morph-strip button").count() == 9
    visit.forget_refusals()


def test_a_link_brings_back_what_was_there(visit):
    page = visit.open()
    _step(page, 3)
    page.click("#link")
    address = page.url
    assert "step=3" in address
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector("#morph-strip button")
    expect(page.locator("#morph-where")).to_have_text("4 of 9")


@pytest.mark.parametrize("width", [375, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_tab_fits_and_is_accessible(visit, npm_package, width, scheme):
    page = visit.page
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    visit.open()
    # Its own script may not be loaded by the page; a test may put it there.
    axe = (npm_package("axe-core") / "axe.min.js").read_text(encoding="utf-8")
    for tab in ("morph", "shape", "map", "clean", "train"):
        page.click(f"#tab-{tab}")
        page.wait_for_timeout(200)
        wide = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert wide[0] <= wide[1], tab
        page.evaluate(axe)
        found: dict[str, Any] = page.evaluate("axe.run()")
        bad = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
        assert bad == [], json.dumps([(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in bad])


def test_pictures_have_a_plane_and_a_divider(browser, tmp_path):
    """With runs of one's own."""
    runs = {"plane": {"latent_size": 2}, "cleaner": {"task": "denoise"}, "larger": {"task": "upscale", "scale": "any"}}
    for name, settings in runs.items():
        musicae.train("image", steps=12, out=tmp_path / name, **settings)
    musicae.load(tmp_path / "plane").sample(1, seed=0)[0].save(tmp_path / "digit.png")
    process, address = start(tmp_path, *(f"--model={name}" for name in (*runs, "melody-2bar")))
    context = browser.new_context(accept_downloads=True)
    try:
        visited = Visit(context.new_page(), address.rstrip("/"))
        page = visited.open()
        _until(page, "document.querySelector('#loading').textContent === ''")
        page.click("#tab-map")
        _until(page, "document.querySelectorAll('#map-plane button').length === 144")
        page.locator("#map-plane button").nth(70).click()
        assert Image.open(io.BytesIO(_download(page, "#map-downloads button:has-text('PNG')"))).size == (8, 8)
        page.click("#tab-clean")
        page.locator("#clean-slot input").set_input_files(tmp_path / "digit.png")
        expect(page.locator("#clean-model")).to_have_value("cleaner")
        page.click("#clean-go")
        page.wait_for_selector("#clean-downloads button")
        expect(page.locator("#picture-after")).to_be_visible()
        page.locator("#picture-divider").fill("80")
        clip = page.eval_on_selector("#picture-after", "image => getComputedStyle(image).clipPath")
        assert clip == "inset(0px 0px 0px 80%)"
        page.locator("#clean-model").select_option("larger")
        expect(page.locator("#clean-strength-label")).to_be_hidden()
        page.locator("#clean-scale").select_option("3")
        page.click("#clean-go")
        _until(page, "document.querySelector('#picture-after').naturalWidth === 24")
        assert visited.errors == []
    finally:
        context.close()
        end(process)


def test_a_studio_that_is_gone_is_said_and_comes_back(browser, tmp_path):
    process, address = start(tmp_path, "--model", "melody-2bar")
    port = re.sub(r"\D", "", address.rpartition(":")[2])
    context = browser.new_context()
    try:
        visited = Visit(context.new_page(), address.rstrip("/"))
        page = visited.open()
        end(process)
        page.locator("#morph-slots input").first.set_input_files(starter_file("b.mid"))
        expect(page.locator("#morph-error")).to_contain_text("does not answer")
        process, _ = start(tmp_path, "--model", "melody-2bar", "--port", port)
        for _ in range(100):
            page.locator("#morph-slots input").first.set_input_files([])
            page.locator("#morph-slots input").first.set_input_files(starter_file("b.mid"))
            page.wait_for_timeout(300)
            if not page.text_content("#morph-error"):
                break
        assert page.text_content("#morph-error") == ""
    finally:
        context.close()
        end(process)
