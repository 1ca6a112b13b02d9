"""README and docs: every Python block runs, every command parses, cheap ones run, and the table of models is true."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from PIL import Image

from musicae import domains, models
from musicae.cli import main
from musicae.starter import starter_file

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PRETRAINED = ROOT / "musicae" / "pretrained"
# Commands that end in seconds on the files of `folder`.
CHEAP = {"attributes", "denoise", "inspect", "interpolate", "models", "render", "sample", "shift", "upscale", "vary"}


class Block(NamedTuple):
    """A fenced block."""

    name: str
    language: str
    text: str


def _blocks(*languages: str) -> Iterator[Block]:
    for page in PAGES:
        found = re.finditer(r"(?ms)^```(\w+)\n(.*?)^```$", page.read_text(encoding="utf-8"))
        for number, match in enumerate(found, 1):
            if match[1] in languages:
                yield Block(f"{page.relative_to(ROOT).as_posix()}-{number}", match[1], match[2])


def _commands() -> Iterator[list[str]]:
    """Arguments of each `musicae …`, in shell blocks and pipes."""
    for block in _blocks("bash"):
        for line in block.text.splitlines():
            words = shlex.split(line, comments=True)
            pipe = [list(part) for part in _split(words, "|")]
            yield from (part[1:] for part in pipe if part and part[0] == "musicae")


def _split(words: list[str], at: str) -> Iterator[list[str]]:
    start = 0
    for end in [*(index for index, word in enumerate(words) if word == at), len(words)]:
        yield words[start:end]
        start = end + 1


PYTHON = list(_blocks("python"))
COMMANDS = sorted({tuple(command) for command in _commands()})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder that the documents assume, with small files."""
    monkeypatch.chdir(tmp_path)
    # What a block registers is gone after it.
    monkeypatch.setattr(domains, "DOMAINS", dict(domains.DOMAINS))
    monkeypatch.setattr(models, "MODELS", dict(models.MODELS))
    (tmp_path / "data").mkdir()
    samples, rate = soundfile.read(starter_file("noisy.wav"), stop=32_000)
    for place in (tmp_path, tmp_path / "data"):
        for name in ("a.mid", "b.mid"):
            (place / name).write_bytes(starter_file(name).read_bytes())
        soundfile.write(place / "noisy.wav", samples, rate)
    for name in ("flute.wav", "bell.wav", "empty-room.wav"):
        soundfile.write(tmp_path / name, samples, rate)
    soundfile.write(tmp_path / "call.wav", samples[::2], rate // 2)
    (tmp_path / "my_midi").mkdir()
    for number in range(6):
        name = "ab"[number % 2]
        (tmp_path / "my_midi" / f"{name}-{number}.mid").write_bytes(starter_file(f"{name}.mid").read_bytes())
    (tmp_path / "photos").mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)):
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    for name in ("photo.jpg", "photo.png"):
        Image.fromarray(np.random.default_rng(1).integers(0, 255, (24, 36, 3), dtype=np.uint8)).save(tmp_path / name)
    return tmp_path


def test_there_is_something_to_test():
    assert len(PAGES) >= 10
    assert len(PYTHON) >= 12
    assert len(COMMANDS) >= 30
    assert {command[0] for command in COMMANDS} >= CHEAP


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.name)
def test_python_runs_as_written_but_trains_briefly(block, folder):
    calls = r"(musicae\.train\(.*)\b(?:minutes|steps)=\d+"
    code = re.sub(calls, r"\1steps=4, batch_size=8, evaluate_examples=16", block.text)
    exec(compile(code, block.name, "exec"), {"__name__": "example"})


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_command_has_the_options_that_are_written(arguments):
    parent = click.Context(main, info_name="musicae", **main.context_settings)
    if arguments[0].startswith("-"):
        assert arguments[0] in [name for parameter in main.get_params(parent) for name in parameter.opts]
        return
    command = main.get_command(parent, arguments[0])
    assert command is not None, f"no command {arguments[0]}"
    with command.make_context(arguments[0], list(arguments[1:]), parent=parent):
        pass


def _is_cheap(arguments: tuple[str, ...]) -> bool:
    """Not a pipe, with shipped models only, and no morph of sounds, which decodes many spectrograms."""
    dear = {"-", "bell.wav"}.intersection(arguments) or any("runs/" in word or "hf://" in word for word in arguments)
    return arguments[0] in CHEAP and not dear


@pytest.mark.parametrize("arguments", [command for command in COMMANDS if _is_cheap(command)], ids=" ".join)
def test_a_cheap_command_runs_and_prints_what_it_wrote(arguments, folder):
    result = CliRunner().invoke(main, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip()


def test_local_links_lead_somewhere():
    dead = [
        f"{page.name}: {link}"
        for page in PAGES
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]
    assert dead == []


def test_each_shipped_model_stands_in_the_readme_with_its_size():
    rows = re.findall(
        r"(?m)^\| \[(\S+)\]\(musicae/pretrained/\1/README\.md\) \|[^|]+\| ([\d.]+) MB \|",
        (ROOT / "README.md").read_text(encoding="utf-8"),
    )
    shipped = {path.parent.name: path.stat().st_size / 1e6 for path in PRETRAINED.glob("*/model.safetensors")}
    assert len(shipped) >= 7
    assert dict(rows).keys() == shipped.keys()
    for name, size in rows:
        assert float(size) == pytest.approx(shipped[name], abs=0.06), name
