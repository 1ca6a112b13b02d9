"""Makes the pictures of the studio again: `python docs/media/studio.py`, with a Chromium (`make browser`)."""

import io
import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import which

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from musicae.starter import starter_file

FOLDER = Path(__file__).resolve().parent
_COLOURS = 96
_OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"),
)


def main() -> None:
    """A picture of each tab."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        studio = subprocess.Popen(
            [sys.executable, "-m", "musicae.cli", "studio", "--no-open", "--port", "0"],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert studio.stdout is not None
        path = next(filter(None, map(which, ("chromium", "chromium-browser", "google-chrome"))))
        browser = playwright.chromium.launch(executable_path=path, args=list(_OPTIONS))
        page = browser.new_page(viewport={"width": 1100, "height": 720})
        page.set_default_timeout(120_000)
        page.goto(studio.stdout.readline().strip())
        page.wait_for_selector("#morph-strip button")
        while page.text_content("#loading"):
            page.wait_for_timeout(200)
        for show in (morph, shape, map_, clean, train):
            show(page)
            save(page, show.__name__.strip("_"))
        browser.close()
        studio.terminate()
        studio.wait()


def morph(page: Page) -> None:
    """In the middle between the starter tunes."""
    page.eval_on_selector("#morph-slider", "slider => { slider.value = 4; slider.dispatchEvent(new Event('input')); }")
    page.click("#play")
    page.wait_for_timeout(2500)
    page.click("#play")


def shape(page: Page) -> None:
    """Trios over chords."""
    page.click("#tab-shape")
    page.select_option("#sample-model", "trio-2bar")
    page.fill("#sample-chords", "Dm G C A7")
    page.click("#sample-go")
    page.wait_for_selector("#shape-found button")
    page.wait_for_timeout(500)


def map_(page: Page) -> None:
    """The windows of the starter tunes."""
    page.click("#tab-map")
    page.click("#map-starters")
    page.wait_for_selector("#map-said:has-text('windows')")
    page.focus("#map-canvas")
    for _ in range(12):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(200)


def clean(page: Page) -> None:
    """The noisy starter sound."""
    page.click("#tab-clean")
    page.locator("#clean-slot input").set_input_files(starter_file("noisy.wav"))
    page.wait_for_selector("#clean-go:not([disabled])")
    page.click("#clean-go")
    page.wait_for_selector("#clean-downloads button")
    page.wait_for_timeout(1500)


def train(page: Page) -> None:
    """A short fine-tuning."""
    page.click("#tab-train")
    page.select_option("#train-from", "melody-2bar")
    page.fill("#train-steps", "200")
    page.click("#train-start")
    page.wait_for_selector("#train-previews img")
    while "Done" not in (page.text_content("#train-said") or ""):
        page.wait_for_timeout(500)
    page.wait_for_timeout(1500)


def save(page: Page, name: str) -> None:
    """With few colours, so that it is small."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(_COLOURS, dither=Image.Dither.NONE).save(FOLDER / f"studio-{name}.png", optimize=True)


if __name__ == "__main__":
    main()
