"""Bad input through the command line: one sentence on stderr, the right exit code, nothing half-written."""

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from PIL import Image
from tiny_models import write_chords

from musicae.cli import main
from musicae.shipped import find_model
from musicae.starter import starter_file

Run = Callable[[str], Path]
ROOT = Path(__file__).resolve().parents[2]
A = starter_file("a.mid")
posix_only = pytest.mark.skipif(os.name != "posix", reason="needs the resource module")


def musicae(*arguments: object) -> Result:
    """Runs a command in this process; whatever it is given, it leaves with an exit code and no exception."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="musicae")
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def refused(*arguments: object, code: int) -> str:
    """Runs a command that must be refused, and returns its one sentence."""
    result = musicae(*arguments)
    assert result.exit_code == code, f"{result.exit_code}: {result.output}"
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr.removeprefix("Error: ").strip()


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def commands(tiny_run: Run) -> dict[str, list[list[object]]]:
    """Kind of media → the commands that take one file of it, without the file; `out` is what they write."""
    return {
        kind: [
            ["reconstruct", "--model", tiny_run(kind), "--out", f"out{ending}"],
            ["inspect", "--domain", kind],
        ]
        for kind, ending in (("music", ".mid"), ("image", ".png"), ("audio", ".wav"))
    } | {"render": [["render", "--out", "out.wav"]]}


def left_behind(tmp_path: Path, *inputs: str) -> list[str]:
    return sorted(path.name for path in tmp_path.iterdir() if path.name not in {*inputs, ".musicae-cache"})


# Files that are not there, or are not what they say


@pytest.mark.parametrize(("kind", "ending"), [("music", ".mid"), ("image", ".png"), ("audio", ".wav")])
def test_missing_empty_and_mislabelled_files(commands, tmp_path: Path, kind: str, ending: str) -> None:
    empty, text, folder = (f"{name}{ending}" for name in ("empty", "text", "folder"))
    (tmp_path / empty).touch()
    (tmp_path / text).write_text("Dear diary, this is a text file.\n" * 50)
    (tmp_path / folder).mkdir()
    for command in commands[kind] + (commands["render"] if kind == "music" else []):
        assert f"none{ending}" in refused(*command, f"none{ending}", code=2)
        assert f"{empty} is empty" in refused(*command, empty, code=1)
        assert text in refused(*command, text, code=1)
        assert folder in refused(*command, folder, code=2)
    assert left_behind(tmp_path, empty, text, folder) == []


def test_one_bad_file_of_several_does_not_keep_the_others_from_being_cleaned(tiny_run: Run, tmp_path: Path) -> None:
    write_chords(tmp_path, 2)
    (tmp_path / "text.wav").write_text("no sound at all")
    files = ["chord-0.wav", "text.wav", "none.wav", "chord-1.wav"]
    result = musicae("denoise", *files, "--model", tiny_run("audio"), "-o", "clean")
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert ["text.wav" in errors[0], "none.wav" in errors[1]] == [True, True]
    assert errors[2:] == ["Error: 2 of 4 files gave no result."]
    assert sorted(path.name for path in (tmp_path / "clean").iterdir()) == ["chord-0.wav", "chord-1.wav"]


def test_a_model_of_another_domain_is_named(tiny_run: Run, tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    write_chords(tmp_path, 1)
    for kind, file in (("music", "a.png"), ("music", "chord-0.wav"), ("image", A), ("audio", A), ("audio", "a.png")):
        sentence = refused("reconstruct", file, "--model", tiny_run(kind), code=2)
        assert f"is no {kind} file, and nothing else is read here" in sentence
    assert "was trained to reconstruct, not to denoise" in refused(
        "denoise", "chord-0.wav", "--model", tiny_run("music"), code=2
    )
    refused("interpolate", A, "a.png", "--model", tiny_run("music"), code=2)
    assert left_behind(tmp_path, "a.png", "chord-0.wav") == []


def test_a_damaged_model_is_named(tiny_run: Run, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(find_model(str(tiny_run("music"))), tmp_path / "model")
    weights = (tmp_path / "model" / "model.safetensors").read_bytes()
    (tmp_path / "model" / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    assert "model.safetensors is damaged" in refused("reconstruct", A, "--model", "model", code=2)
    (tmp_path / "model" / "config.json").write_text("{")
    assert "config.json is damaged" in refused("sample", "--model", "model", code=2)
    assert left_behind(tmp_path, "model") == []


# What is asked for is not there


def test_operations_refuse_bad_files_and_leave_nothing(tiny_run: Run, tmp_path: Path) -> None:
    (tmp_path / "text.mid").write_text("Dear diary, this is a text file.\n" * 50)
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    model = ["--model", tiny_run("music"), "--out", "out"]
    commands: list[list[object]] = [
        ["vary", *model],
        ["interpolate", A, *model],
        ["interpolate", A, *model, "--whole"],
        ["interpolate", *model, A, A, "--corners", A],
        ["embed", *model],
    ]
    for command in commands:
        assert "no such file" in refused(*command, "none.mid", code=2)
        assert "text.mid" in refused(*command, "text.mid", code=1)
        assert "a.png is no music file" in refused(*command, "a.png", code=2)
    assert left_behind(tmp_path, "text.mid", "a.png") == []


def test_what_a_model_cannot_do_is_said_and_how_to_get_one_that_can(tiny_run: Run, tmp_path: Path) -> None:
    write_chords(tmp_path, 1)
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    model = {kind: ["--model", tiny_run(kind)] for kind in ("music", "image", "plain", "audio")}
    for command, sentence in (
        (["upscale", A, *model["music"]], "was trained to reconstruct, not to upscale; train one with --task upscale"),
        (["upscale", "chord-0.wav", *model["audio"]], "was trained to denoise, not to upscale"),
        (["sample", *model["music"], "--chords", "C F H"], "'H' is no chord"),
        (["sample", *model["image"], "--chords", "C"], "train one with --set chords=true"),
        (["reconstruct", A, *model["music"], "--chords", "C"], "train one with --set chords=true"),
        (["reconstruct", "chord-0.wav", *model["audio"], "--chords", "C"], "cannot follow other chords"),
        (["sample", *model["image"], "--length", "4"], "image has no bars"),
        (["attributes", "a.png", *model["image"]], "image has no attributes; models of these domains have: "),
        (["shift", "a.png", *model["image"], "--attribute", "density"], "image has no attributes"),
        (["sample", *model["plain"]], "a plain autoencoder has no prior"),
        (["vary", "chord-0.wav", *model["audio"]], "restores (denoise) and cannot vary"),
        (["shift", "chord-0.wav", *model["audio"], "--attribute", "density"], "restores (denoise) and cannot shift"),
    ):
        assert sentence in refused(*command, code=2)
    assert left_behind(tmp_path, "a.png", "chord-0.wav") == []


# MIDI


def test_every_malformed_midi_file_is_read_or_refused(shared_data, commands, tmp_path: Path) -> None:
    files = sorted(shared_data("malformed_midi").rglob("*.mid"))
    assert len(files) == 40
    musicae("render", A, "--out", "warm.wav")  # what is imported once is not a file's fault
    (tmp_path / "warm.wav").unlink()
    outcomes = {0: 0, 1: 0, 2: 0}
    for path in files:
        for command in [*commands["music"], *commands["render"]]:
            started = time.process_time()
            result = musicae(*command, path)
            assert time.process_time() - started < 5, (path.name, command[0])
            assert result.exit_code in outcomes, (path.name, result.output)
            outcomes[result.exit_code] += 1
            assert "nan" not in result.output.lower().split(), path.name
            written = left_behind(tmp_path)
            if result.exit_code == 0:
                assert written == ([] if command[0] == "inspect" else [command[command.index("--out") + 1]])
            else:
                assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1, (
                    path.name,
                    result.stderr,
                )
                assert written == [], path.name
            for name in written:
                assert (tmp_path / name).stat().st_size > 0
                (tmp_path / name).unlink()
    assert sum(outcomes.values()) == 120
    assert min(outcomes[0], outcomes[1]) > 20


def test_a_folder_of_malformed_files_gives_what_is_good_and_counts_the_rest(shared_data, tmp_path: Path) -> None:
    folder = shared_data("malformed_midi")
    lines = musicae("inspect", folder).stdout.splitlines()
    refusals = [line for line in lines if ": refused: " in line]
    assert "of 40 files. Left out: " in lines[-1]
    assert f"{len(refusals)} damaged files" in lines[-1]
    settings = ["--set", "width=8", "--set", "step_width=8", "--set", "warmup_steps=0", "--precision", "no"]
    trained = musicae("train", "--domain", "music", "--data", folder, "--steps", 2, *settings, "--out", "run")
    assert trained.exit_code == 0, trained.output
    assert f"{len(refusals)} damaged files" in trained.stderr.splitlines()[0]


# Pictures


def test_a_truncated_picture_is_damaged(commands, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    for ending in ("png", "jpg"):
        Image.fromarray(pixels).save(tmp_path / f"whole.{ending}")
        data = (tmp_path / f"whole.{ending}").read_bytes()
        (tmp_path / f"half.{ending}").write_bytes(data[: len(data) // 2])
        for command in commands["image"]:
            assert f"half.{ending} can't be read as a picture" in refused(*command, f"half.{ending}", code=1)
    assert left_behind(tmp_path, "whole.png", "whole.jpg", "half.png", "half.jpg") == []


@pytest.mark.parametrize("height", [1, 2000])
def test_a_picture_of_a_hundred_thousand_pixels_is_refused_at_once(commands, tmp_path: Path, height: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.new("1", (100_000, height)).save(tmp_path / "wide.png")
    for command in commands["image"]:
        started = time.process_time()
        sentence = refused(*command, "wide.png", code=2)
        assert any(words in sentence for words in ("larger than", "at most 30000 a side"))
        assert time.process_time() - started < 2
    assert left_behind(tmp_path, "wide.png") == []


# Sounds


def write_bad_sound(path: Path, what: str) -> None:
    samples = {"zero samples": np.zeros(0), "nan": np.full(8000, np.nan), "infinite": np.full(8000, np.inf)}[what]
    soundfile.write(path, samples, 8000, subtype="PCM_16" if what == "zero samples" else "FLOAT")


@pytest.mark.parametrize("what", ["zero samples", "nan", "infinite"])
def test_sounds_without_a_usable_sample_are_damaged(tiny_run: Run, commands, tmp_path: Path, what: str) -> None:
    write_bad_sound(tmp_path / "bad.wav", what)
    denoise = ["denoise", "--model", tiny_run("audio"), "--out", "out.wav"]
    for command in [*commands["audio"], denoise]:
        assert "bad.wav" in refused(*command, "bad.wav", code=1)
    assert left_behind(tmp_path, "bad.wav") == []


@pytest.mark.parametrize(
    ("subtype", "channels"), [("PCM_U8", 1), ("PCM_24", 1), ("PCM_16", 6), ("PCM_24", 6), ("FLOAT", 2)]
)
def test_unusual_sounds_are_cleaned_and_keep_their_kind(
    tiny_run: Run, tmp_path: Path, subtype: str, channels: int
) -> None:
    sound = 0.2 * np.random.default_rng(0).standard_normal((6000, channels))
    soundfile.write(tmp_path / "in.wav", sound, 12_000, subtype=subtype)
    result = musicae("denoise", "in.wav", "--model", tiny_run("audio"), "--out", "out.wav")
    assert result.exit_code == 0, result.output
    before, after = soundfile.info("in.wav"), soundfile.info("out.wav")
    for name in ("frames", "samplerate", "channels", "subtype"):
        assert getattr(after, name) == getattr(before, name)
    cleaned = soundfile.read("out.wav")[0]
    assert np.isfinite(cleaned).all()
    assert np.abs(cleaned).max() > 0.01


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from Linux's /proc")
@pytest.mark.slow
def test_a_long_sound_is_cleaned_in_the_memory_of_a_short_one(tiny_run: Run, tmp_path: Path) -> None:
    """30 minutes at 8 kHz are 58 MB as floats, 4 minutes 8; the memory differs by less than 20."""
    block = (3000 * np.random.default_rng(0).standard_normal(8000 * 60)).astype(np.int16)
    code = "import pathlib, sys; from musicae.cli import main; main(sys.argv[1:], standalone_mode=False); "
    # Not getrusage: its peak is inherited from the process that started this one.
    code += "print(pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    peak_mb = {}
    for minutes in (4, 30):
        with soundfile.SoundFile(tmp_path / "in.wav", "w", 8000, 1, "PCM_16") as file:
            for _ in range(minutes):
                file.write(block)
        command = [sys.executable, "-c", code, "denoise", "in.wav", "--out", "out.wav", "--force"]
        command += ["--model", str(tiny_run("audio"))]
        result = subprocess.run(command, capture_output=True, text=True, timeout=250)
        assert result.returncode == 0, result.stderr
        peak_mb[minutes] = int(result.stdout.split()[-1]) / 1024
        assert soundfile.info("out.wav").frames == minutes * len(block)
    assert peak_mb[30] < peak_mb[4] + 20, peak_mb


# Data sets


@pytest.mark.parametrize("kind", ["music", "image", "audio"])
def test_a_folder_of_one_item_is_refused_before_training(tmp_path: Path, kind: str) -> None:
    (tmp_path / "data").mkdir()
    if kind == "music":
        (tmp_path / "data" / "a.mid").write_bytes(A.read_bytes())
    elif kind == "image":
        Image.effect_noise((16, 16), 50).save(tmp_path / "data" / "a.png")
    else:
        write_chords(tmp_path / "data", 1)
    sentence = refused("train", "--domain", kind, "--data", "data", code=2)
    assert sentence.startswith("only one item: training needs at least two")
    assert left_behind(tmp_path, "data") == []


def test_folders_that_yield_nothing_are_refused_with_counts(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert "no music files in data" in refused("train", "--domain", "music", "--data", "data", code=2)
    for number in range(3):
        (tmp_path / "data" / f"{number}.mid").write_text("text")
    assert "Left out: 3 damaged files." in refused("train", "--domain", "music", "--data", "data", code=2)
    result = musicae("inspect", "data")
    assert (result.exit_code, result.stderr) == (1, "Error: all 3 files are damaged.\n")
    assert left_behind(tmp_path, "data") == []


# Models that don't fit


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("audio", "--task denoise --model spectrogram", "does not fit task 'denoise'; use --model unet."),
        ("audio", "--task reconstruct --model unet", "does not fit task 'reconstruct'; use --model spectrogram."),
        ("audio", "--task reconstruct --model causal", "does not fit task 'reconstruct'; use --model spectrogram."),
        ("audio", "--task denoise --model restorer", "takes steps tensors, not grid; use --model unet."),
        (
            "audio",
            "--task upscale --model causal",
            "'causal' turns down spectra of sound and corrects nothing else; use unet.",
        ),
        ("audio", "--task denoise --set representation=magnitude", "takes representation=spectrum, not magnitude"),
        ("audio", "--task upscale --set representation=spectrum", "takes representation=top, not spectrum"),
        ("image", "--task denoise --model causal", "'causal' turns down spectra of sound and corrects nothing else"),
        ("image", "--task denoise --set labels=true", "leave out labels=true."),
        ("image", "--model spectrogram --set labels=true", "leave out labels=true."),
    ],
)
def test_a_model_that_does_not_fit_is_refused_before_data_are_read(
    tmp_path: Path, kind: str, options: str, sentence: str
) -> None:
    """Even in a dry run, which reads none."""
    for name in ("one", "other"):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.effect_noise((16, 16), 50).save(tmp_path / "data" / name / "a.png")
    write_chords(tmp_path / "data", 2)
    for more in ([], ["--dry-run"]):
        command = ["train", "--domain", kind, "--data", "data", "--steps", 2, "--out", "run", *options.split(), *more]
        assert sentence in refused(*command, code=2)
    assert left_behind(tmp_path, "data") == []


# Places that can't be written to


def test_an_output_below_a_file_is_refused(tiny_run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    write_chords(tmp_path, 1)
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    tiny = ["--precision", "no", "--set", "warmup_steps=0", "--set", "widths=[4]", "--steps", "1"]
    checked = 0
    for command in (
        ["reconstruct", A, "--model", tiny_run("music"), "--out", "file/out.mid"],
        ["reconstruct", "a.png", "--model", tiny_run("image"), "--out", "file/out.png"],
        ["denoise", "chord-0.wav", "--model", tiny_run("audio"), "--out", "file/out.wav"],
        ["interpolate", A, A, "--model", tiny_run("music"), "--out", "file/out"],
        ["interpolate", A, A, "--model", tiny_run("music"), "--out", "file"],
        ["interpolate", A, A, "--model", tiny_run("music"), "--out", "file", "--whole"],
        ["interpolate", A, A, "--corners", A, A, "--model", tiny_run("music"), "--out", "file"],
        ["vary", A, "--model", tiny_run("music"), "--out", "file"],
        ["embed", A, "--model", tiny_run("music"), "--out", "file/map.csv"],
        ["sample", "--model", tiny_run("music"), "--out", "file/deep/out"],
        ["render", A, "--out", "file/out.wav"],
    ):
        assert "file" in refused(*command, code=2)
        checked += 1
    result = musicae("train", "--domain", "image", *tiny, "--out", "file/run")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in result.stderr
    assert (tmp_path / "file").read_text() == "mine"
    assert left_behind(tmp_path, "file", "a.png", "chord-0.wav") == []
    assert checked == 11


def without_space(tmp_path: Path, limit_bytes: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a command in a process whose files cannot grow beyond a limit, as on a full disk."""
    code = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    code += f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, {limit_bytes})); "
    code += "from musicae.cli import main; main(sys.argv[1:])"
    environment = {**os.environ, "MUSICAE_CACHE": str(tmp_path / ".musicae-cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        cwd=tmp_path,
    )


@posix_only
@pytest.mark.parametrize("job", ["interpolate", "reconstruct", "denoise", "sample", "render", "vary", "embed"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tiny_run: Run, tmp_path: Path, job: str) -> None:
    assert hasattr(signal, "SIGXFSZ")
    write_chords(tmp_path, 1)
    arguments: dict[str, list[object]] = {
        "interpolate": [A, A, "--model", tiny_run("music"), "--out", "out"],
        "reconstruct": [A, "--model", tiny_run("music"), "--out", "out/a.mid"],
        "denoise": ["chord-0.wav", "--model", tiny_run("audio"), "--out", "out.wav"],
        "sample": ["--model", tiny_run("image"), "--out", "out"],
        "render": [A, "--out", "out.wav"],
        "vary": [A, "--model", tiny_run("music"), "--out", "out"],
        "embed": [A, "--model", tiny_run("music"), "--out", "out.csv"],
    }
    result = without_space(tmp_path, 20, job, *arguments[job])
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1, result.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.name for path in files] == ["chord-0.wav"]


@posix_only
def test_a_disk_that_fills_while_data_are_read_leaves_no_store(tmp_path: Path) -> None:
    result = without_space(tmp_path, 1000, "train", "--domain", "image", "--out", "run")
    assert result.returncode == 2, result.stderr
    assert result.stderr == "Error: File too large\n"
    assert left_behind(tmp_path) == []
    assert list((tmp_path / ".musicae-cache").iterdir()) == []


@posix_only
def test_a_disk_that_fills_while_a_model_is_saved_is_one_sentence(tmp_path: Path) -> None:
    settings = ["--steps", 2, "--set", "warmup_steps=0", "--precision", "no", "--out", "run"]
    result = without_space(tmp_path, 500_000, "train", "--domain", "image", *settings)
    assert result.returncode == 2, result.stderr
    assert result.stderr.splitlines()[-1].startswith("Error: run cannot be written (")
    assert "Traceback" not in result.stderr
    assert not [path for path in (tmp_path / "run").rglob("*") if "safetensors" in path.name or "writing" in path.name]
