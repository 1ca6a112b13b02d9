"""The command line: help for everything, whole sessions from training to sound, and exit codes."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import soundfile
from click.testing import CliRunner, Result
from own_domains import CountedMusic
from PIL import Image
from symusic import Score
from tiny_models import write_chords

from musicae import __version__
from musicae.attribute_vectors import fit
from musicae.cli import main
from musicae.commands import COMMANDS
from musicae.data.dataset import load_dataset
from musicae.domains import DOMAINS
from musicae.models import MODELS
from musicae.music.piece import Piece
from musicae.shipped import find_model
from musicae.starter import starter_file
from musicae.trained import load

Run = Callable[[str], Path]
ROOT = Path(__file__).resolve().parents[2]
EXPECTED = (
    *(
        "attributes",
        "continue",
        "corrupt",
        "denoise",
        "embed",
        "evaluate",
        "export",
        "grid",
        "groove-transfer",
        "humanize",
    ),
    *("infill", "inspect", "interpolate", "models", "prepare", "pull", "push", "reconstruct", "render", "reproduce"),
    *("sample", "shift", "studio"),
    *("tap", "train", "upscale", "vary"),
)
A, B = str(starter_file("a.mid")), str(starter_file("b.mid"))
TINY_TRAINING = ["--steps", "8", "--precision", "no", "--set", "warmup_steps=2", "--set", "widths=[4]"]


def musicae(*arguments: object, code: int = 0) -> Result:
    """Runs a command in this process and checks its exit code."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="musicae")
    assert result.exit_code == code, f"{result.exit_code}: {result.output}"
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def command_of(name: str) -> click.Command:
    """A command as the group gives it."""
    command = main.get_command(click.Context(main), name)
    assert command is not None
    return command


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# Results of two media


def test_music_does_not_replace_pictures_of_the_same_name(tmp_path: Path) -> None:
    musicae("train", "--domain", "image", "--steps", "2", "--out", "run", *TINY_TRAINING[2:])
    for name in "ab":
        Image.new("L", (8, 8), 90 if name == "a" else 200).save(f"{name}.png")
        shutil.copy(A if name == "a" else B, f"{name}.mid")
    musicae("interpolate", "a.png", "b.png", "--model", "run", "--steps", "3")
    before = {file.name: file.read_bytes() for file in Path("output/a-to-b-interpolate").iterdir()}
    musicae("interpolate", "a.mid", "b.mid", "--steps", "3")
    assert {file.name: file.read_bytes() for file in Path("output/a-to-b-interpolate").iterdir()} == before
    assert (Path("output") / "a-to-b-interpolate-2" / "interpolation.mid").is_file()


# Help


def test_these_are_the_commands() -> None:
    assert tuple(sorted(COMMANDS)) == EXPECTED
    assert main.list_commands(click.Context(main)) == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    text = musicae(command, "--help").output
    assert text.startswith(f"Usage: musicae {command} ")
    assert f"Example: musicae {command}" in text
    assert musicae(command, "-h").output == text


@pytest.mark.parametrize("command", COMMANDS)
def test_the_table_says_what_the_command_says(command: str) -> None:
    """`--help` imports no command, so the table repeats the first sentences."""
    assert command_of(command).name == command
    assert " ".join(str(command_of(command).help).split()).startswith(COMMANDS[command][1].removesuffix("."))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_is(command: str) -> None:
    options = [option for option in command_of(command).params if isinstance(option, click.Option)]
    undocumented = [option.name for option in options if not option.help]
    assert undocumented == []
    assert len(options) > 0 or command == "models"


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [command for command in COMMANDS if f"`{command}`" not in readme and f"musicae {command}" not in readme]
    assert missing == []


def test_the_examples_of_the_help_parse() -> None:
    checked = 0
    for name in COMMANDS:
        command = command_of(name)
        assert command.help is not None
        example = command.help.partition("Example: musicae ")[2].splitlines()[0].split()
        assert example[0] == name
        command.make_context(name, example[1:], parent=click.Context(main, **main.context_settings))
        checked += 1
    assert checked == len(EXPECTED)


def test_top_level_help_brings_no_torch() -> None:
    code = "import sys; from musicae.cli import main; main(['--help'], standalone_mode=False); "
    code += "print([name for name in ('torch', 'numpy', 'librosa', 'matplotlib') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
    assert all(command in result.stdout for command in COMMANDS)


def test_version() -> None:
    assert musicae("--version").output == f"musicae, version {__version__}\n"


def test_the_launcher_and_the_command_are_the_same() -> None:
    launched = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert __version__ in launched.stdout


def test_choices_come_from_the_tables() -> None:
    text = musicae("train", "--help").output
    assert f"[{'|'.join(DOMAINS)}]" in text
    assert ", ".join(MODELS) in " ".join(text.split())


# Training


def test_a_dry_run_prints_the_resolved_settings_and_writes_nothing(tmp_path: Path) -> None:
    result = musicae("train", "--domain", "image", "--dry-run", "--latent-size", 7, "--set", "widths=[8,9]")
    resolved = json.loads(result.stdout)
    assert (resolved["domain"], resolved["task"], resolved["model"]) == ("image", "reconstruct", "conv")
    assert (resolved["model_settings"]["latent_size"], resolved["model_settings"]["widths"]) == (7, [8, 9])
    assert resolved["domain_settings"]["size"] == 8
    assert resolved["training"]["steps"] > 0
    assert list(tmp_path.iterdir()) == []


def test_settings_come_from_a_file_and_options_win(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"latent_size": 3, "beta": 0.5, "seed": 4}')
    command = ["train", "--domain", "image", "--config", "settings.json", "--set", "seed=5", "--beta", "2", "--dry-run"]
    resolved = json.loads(musicae(*command).stdout)
    assert resolved["model_settings"]["latent_size"] == 3
    assert (resolved["training"]["seed"], resolved["training"]["beta"]) == (5, 2)


def test_pictures_from_training_to_samples(tmp_path: Path) -> None:
    trained = musicae("train", "--domain", "image", "--out", "run", "--seed", 1, *TINY_TRAINING)
    assert trained.stdout.splitlines()[-1] == "run"
    assert "1797 examples from 1797 items" in trained.stderr
    scores = json.loads(musicae("evaluate", "--model", "run", "--json").stdout)
    assert {"mse", "psnr_db", "ssim", "kl_bits", "active_units", "elbo_nats", "pca_mse"} <= set(scores)
    table = musicae("evaluate", "--model", "run").stdout.splitlines()
    ends = {f"{name}_{end}" for name in scores for end in ("low", "high")}
    assert [line.split()[0] for line in table] == [name for name in scores if name not in ends]
    assert float(table[0].split()[1]) == pytest.approx(next(iter(scores.values())), rel=1e-3)
    sheet, *_ = musicae("sample", "--model", "run", "--count", 2, "--seed", 1).stdout.splitlines()
    assert Path(sheet) == Path("output/run-sample/samples.png")
    rebuilt = musicae("reconstruct", sheet, "--model", "run/best", "--out", "again.png").stdout.strip()
    with Image.open(rebuilt) as picture:
        assert picture.size == (8, 8)
    lines = musicae("interpolate", sheet, rebuilt, "--model", "run", "--steps", 3, "--out", "path").stdout.splitlines()
    assert lines == [str(Path("path") / "interpolation.png")]
    assert "samples.png: examples 1" not in lines
    assert "Traceback" not in trained.stderr


def test_a_run_is_continued_only_when_asked(tmp_path: Path) -> None:
    musicae("train", "--domain", "image", "--out", "run", *TINY_TRAINING)
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    refused = musicae("train", "--domain", "image", "--out", "run", *TINY_TRAINING, code=2)
    assert refused.stderr == "Error: run already holds a run; continue it with --resume run, or choose another --out.\n"
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before
    assert musicae("train", "--resume", "run").stdout == "run\n"
    ignored = musicae("train", "--resume", "run", "--steps", 20, code=2)
    assert "leave the other options out" in ignored.stderr


def test_a_run_of_which_only_the_best_is_left_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "run" / "best").mkdir(parents=True)
    assert "already holds a run" in musicae("train", "--domain", "image", "--out", "run", code=2).stderr


def test_sounds_from_training_to_a_clean_file(tmp_path: Path) -> None:
    write_chords(tmp_path / "chords", 4)
    sizes = ["n_fft=256", "sample_rate_hz=8000", "chunk_s=0.6", "widths=[4,4]", "latent_size=4", "warmup_steps=1"]
    settings = [part for setting in sizes for part in ("--set", setting)]
    command = ["train", "--domain", "audio", "--task", "denoise", "--data", "chords", "--steps", 3, "--batch-size", 2]
    musicae(*command, "--precision", "no", *settings)
    run = Path("runs/audio-denoise")
    cleaned = musicae("denoise", "chords/chord-0.wav", "--model", run).stdout.strip()
    assert cleaned == "output/chord-0-denoise.wav"
    assert soundfile.info(cleaned).frames == soundfile.info("chords/chord-0.wav").frames
    scores = json.loads(musicae("evaluate", "--model", run, "--json").stdout)
    assert {"si_sdr_in_db", "si_sdr_out_db", "si_sdr_gain_db", "log_mel_l1"} <= set(scores)
    assert "4 of 4 files" in musicae("inspect", "chords", "--domain", "audio").stdout


# Melodies, on a model that was trained before


def test_melodies_from_a_path_to_sound(tiny_run: Run) -> None:
    run = tiny_run("music")
    result = musicae("interpolate", A, B, "--model", run, "--steps", 2, "--bar-a", 3, "--track-b", 0)
    assert result.stdout.splitlines() == [
        f"output/a-to-b-interpolate/interpolation.{ending}" for ending in ("mid", "png", "wav")
    ]
    assert result.stderr.startswith("from bars 3–4 of track ")
    again = musicae("reconstruct", A, "--model", run).stdout.strip()
    assert again == "output/a-reconstruct.mid"
    assert Score(again).note_num() > 0
    sound = musicae("render", again, "--sample-rate", 22_050).stdout.strip()
    assert sound == "output/a-reconstruct-render.wav"
    assert soundfile.info(sound).samplerate == 22_050
    samples = musicae("sample", "--model", run, "--count", 2, "--temperature", 0.5, "--seed", 1).stdout.splitlines()
    assert samples == [f"output/music-run-sample/samples.{ending}" for ending in ("mid", "png", "wav")]
    scores = json.loads(musicae("evaluate", "--model", run, "--json", "--limit", 5).stdout)
    assert {"accuracy_teacher_forced", "accuracy_free_running", "onset_f1", "kl_bits"} <= set(scores)


def test_equal_seeds_write_equal_samples(tiny_run: Run, tmp_path: Path) -> None:
    for out in ("one", "two"):
        musicae("sample", "--model", tiny_run("music"), "--seed", 7, "--count", 2, "--out", out)
    files = [sorted((tmp_path / out).glob("*.mid")) for out in ("one", "two")]
    assert len(files[0]) == 3
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


def test_inspect_says_what_is_used_and_what_is_not(tmp_path: Path) -> None:
    (tmp_path / "tunes").mkdir()
    for source in (A, B):
        (tmp_path / "tunes" / Path(source).name).write_bytes(Path(source).read_bytes())
    (tmp_path / "tunes" / "c.mid").write_text("text")
    lines = musicae("inspect", "tunes").stdout.splitlines()
    assert [line for line in lines if line.startswith("tunes/c.mid: refused: c.mid cannot be read as MIDI")]
    assert [line for line in lines if line.startswith("tunes/a.mid: ")]
    assert "from 2 of 3 files" in lines[-1]
    assert "1 damaged file." in lines[-1]


def test_inspect_takes_settings() -> None:
    def examples(*settings: str) -> int:
        return int(musicae("inspect", A, *settings).stdout.splitlines()[-1].split()[2])

    assert examples() > examples("--set", "bars=4") > 0


def test_inspect_reads_as_a_model_does() -> None:
    """Its settings count, not those of a new model."""

    def examples(*options: str) -> int:
        return int(musicae("inspect", A, *options).stdout.splitlines()[-1].split()[2])

    assert examples("--model", "melody-2bar") == examples()
    assert examples("--model", "melody-16bar") == examples("--set", "bars=16")
    assert "no drums (channel 10)" in musicae("inspect", A, "--model", "drums-2bar", code=2).stderr
    for option in (("--set", "bars=4"), ("--domain", "music")):
        assert "leave out --domain and --set" in musicae("inspect", A, "--model", "melody-2bar", *option, code=2).stderr


def test_models_lists_every_model() -> None:
    text = musicae("models").stdout
    assert all(f"  {name}: {entry.layout} layout" in text for name, entry in MODELS.items())


def test_long_samples_are_pieces_with_a_picture_and_a_sound_each(tiny_run: Run, tmp_path: Path) -> None:
    command = ["sample", "--model", tiny_run("music"), "--count", 2, "--length", 5, "--top-p", 0.9, "--seed", 1]
    result = musicae(*command, "--out", "out")
    assert result.stdout.splitlines() == ["out/samples.mid"]
    assert result.stderr == "5 bars become 6, a multiple of the model's 2\n"
    assert len(list((tmp_path / "out").iterdir())) == 7


def test_a_square_and_whole_songs_are_interpolated(tiny_run: Run) -> None:
    run = tiny_run("music")
    square = musicae("interpolate", A, B, "--corners", B, A, "--model", run, "--steps", 2, "--bar-a", 3)
    assert square.stdout.splitlines() == [
        f"output/square-a-b-b-a-interpolate/square.{ending}" for ending in ("mid", "png", "wav")
    ]
    assert square.stderr.startswith("upper left: bars 3–4 of track ")
    songs = musicae("interpolate", A, B, "--whole", "--model", run, "--steps", 2, "--out", "songs")
    assert songs.stdout.splitlines() == ["songs/step-01.mid", "songs/step-02.mid"]
    refused = musicae("interpolate", A, B, "--whole", "--model", run, "--bar-a", 1, code=2)
    assert "--whole takes two whole files" in refused.stderr
    for many in (["--whole"], ["--corners", A, B]):
        refused = musicae("interpolate", A, B, *many, "--spacing", "even", "--model", run, code=2)
        assert "--spacing is for a path" in refused.stderr


def test_a_path_between_identical_files_says_so(tiny_run: Run) -> None:
    result = musicae("interpolate", A, A, "--model", tiny_run("music"), "--steps", 2)
    assert result.stderr.splitlines()[1] == "both ends are the same to the model, so every step is the same"


def test_variations_of_a_file_at_a_distance(tiny_run: Run) -> None:
    result = musicae("vary", A, "--model", tiny_run("music"), "--amount", 0.2, "--count", 2, "--seed", 3, "--bar", 3)
    assert result.stdout.splitlines() == [f"output/a-vary/variations.{ending}" for ending in ("mid", "png", "wav")]
    assert result.stderr.startswith("bars 3–4 of track ") and " at amount 0.2: " in result.stderr


def test_bars_of_a_song_vary_within_the_song(tiny_run: Run, tmp_path: Path) -> None:
    model = ["--model", str(tiny_run("music"))]
    bars = ["--bars", "3-4", "--keep", "rhythm", "--count", 2, "--seed", 1]
    said = musicae("vary", A, *model, *bars, "--out", "songs")
    assert "kept: rhythm" in said.stderr and "songs" in said.stdout
    before, songs = Piece.open(A), [Piece.open(path) for path in sorted((tmp_path / "songs").glob("*.mid"))]
    assert [song.bars for song in songs] == [before.bars] * 2
    musicae("vary", A, *model, *bars, "--solo", "--out", "alone")
    assert [len(Piece.open(path).tracks) for path in sorted((tmp_path / "alone").glob("*.mid"))] == [1, 1]
    assert "--bar chooses one window" in musicae("vary", A, *model, "--whole", "--bar", 3, code=2).stderr
    assert "--solo goes with --whole" in musicae("vary", A, *model, "--solo", code=2).stderr


def test_a_path_takes_a_tempo(tiny_run: Run, tmp_path: Path) -> None:
    model = ["--model", str(tiny_run("music"))]
    musicae("interpolate", A, B, *model, "--steps", 2, "--tempo", "b", "--out", "path")
    assert Piece.open(tmp_path / "path" / "step-01.mid").tempi == Piece.open(B).tempi
    refused = musicae("interpolate", A, B, *model, "--tempo", "b", "--corners", A, B, code=2)
    assert "--tempo is for a path of music" in refused.stderr


def test_attributes_are_measured_shifted_and_mapped(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DOMAINS, "music", lambda: CountedMusic)
    run = shutil.copytree(find_model(str(tiny_run("music"))), tmp_path / "run")
    trained = load(run)
    fit(trained.pipeline, load_dataset(trained.domain, ())).save(run)
    table = musicae("attributes", A, B, "--model", run).stdout.splitlines()
    assert [line.split()[0] for line in table] == ["file", "a.mid", "b.mid"]
    assert table[0].split() == ["file", "windows", "density", "height", "off_beat"]
    assert musicae("attributes", A, "--model", run, "--windows", "--out", "table.csv").stdout == "table.csv\n"
    assert (tmp_path / "table.csv").read_text().startswith("file,window,density,height,off_beat\na.mid,1,")
    shifted = musicae("shift", A, "--model", run, "--attribute", "height", "--amount", -1)
    assert shifted.stdout == "output/a-shift.mid\n"
    moved, changes, *_ = shifted.stderr.splitlines()
    assert moved.startswith("height: ") and changes.startswith("changes in standard deviations: density ")
    unknown = musicae("shift", A, "--model", run, "--attribute", "hight", code=2)
    assert (
        unknown.stderr == "Error: unknown attribute 'hight'. Did you mean 'height'? Valid: density, height, off_beat.\n"
    )
    assert musicae("embed", A, B, "--model", run, "--colour", "height").stdout.splitlines() == [
        "output/a-embed.csv",
        "output/a-embed.png",
    ]


# Refusals


@pytest.mark.parametrize(
    ("command", "sentences"),
    [
        (
            ["--set", "latentsize=3"],
            ["unknown setting 'latentsize'", "Did you mean 'latent_size'", "learning_rate", "size"],
        ),
        (["--set", "latent_size=0"], ["latent_size=0: input should be greater than or equal to 1"]),
        (["--set", "latent_size"], ["--set wants KEY=VALUE, got 'latent_size'"]),
        (["--set", "beta=high"], ["beta='high'"]),
        (["--steps", "0"], ["0 is not in the range x>=1"]),
        (["--steps", "-5"], ["-5 is not in the range x>=1"]),
        (["--set", "steps=0"], ["steps=0: input should be greater than or equal to 1"]),
        (["--minutes", "0"], ["0.0 is not in the range x>0"]),
        (["--task", "denois"], ["unknown task for image 'denois'. Did you mean 'denoise'"]),
        (["--model", "cnv"], ["unknown model 'cnv'. Did you mean 'conv'"]),
        (["--model", "unet"], ["model 'unet' does not fit task 'reconstruct'; use --model conv"]),
        (["--model", "steps"], ["model 'steps' takes steps tensors, not grid"]),
        (["--config", "none.json"], ["no such file: none.json"]),
        (["--data", "none"], ["no such file or folder: none"]),
    ],
)
def test_bad_settings_of_a_training_are_named(command: list[str], sentences: list[str], tmp_path: Path) -> None:
    result = musicae("train", "--domain", "image", *command, code=2)
    assert all(sentence in result.stderr for sentence in sentences), result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "sentence"), [("{", "is not JSON"), ("[1]", "holds no settings"), ("", "is not JSON")]
)
def test_a_bad_settings_file_is_named(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "settings.json").write_text(content)
    result = musicae("train", "--domain", "image", "--config", "settings.json", code=2)
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["train"], "give --domain (or --resume)"),
        (["train", "--domain", "video"], "'video' is not one of 'image', 'music', 'audio'"),
        (["train", "--resume", "none"], "none holds no run"),
        (["interpolate", A, B, "--steps", "1"], "1 is not in the range 2<=x<=1000"),
        (["interpolate", A, B, "--method", "cubic"], "'cubic' is not one of 'slerp', 'lerp'"),
        (["interpolate", A, B, "--bar-a", "0"], "0 is not in the range x>=1"),
        (["interpolate", A], "Missing argument 'B'"),
        (["reconstruct", A, "--model", "none"], "unknown model 'none'"),
        (["sample", "--model", "none"], "Or give a run's folder"),
        (["evaluate"], "Missing option '--model'"),
        (["inspect"], "Missing argument"),
        (["inspect", "none"], "no such file: none"),
        (["inspect", "--set", "bar=2", A], "unknown music setting 'bar'. Did you mean 'bars'"),
        (["sample", "--temperature", "-1"], "-1.0 is not in the range x>=0"),
        (["sample", "--top-p", "0"], "0.0 is not in the range 0<x<=1"),
        (["sample", "--length", "0"], "0 is not in the range x>=1"),
        (["vary", A, "--amount", "1.5"], "1.5 is not in the range 0<=x<=1"),
        (["shift", A], "Missing option '--attribute'"),
        (["upscale", A], "Missing option '--model'"),
        (["embed", A, "--method", "umap"], "'umap' is not one of 'pca', 'tsne', 'latent'"),
        (["attributes"], "Missing argument"),
        (["render", "none.mid"], "no such file: none.mid"),
        (["render", A, "--out", "a.xyz"], "a.xyz"),
        (["dance"], "No such command 'dance'"),
    ],
)
def test_a_bad_command_leaves_with_two(command: list[str], sentence: str, tmp_path: Path) -> None:
    result = musicae(*command, code=2)
    assert sentence in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("choice", "sentence"), [(["--bar-a", "999"], "has no bar 999"), (["--track-b", "kazoo"], "kazoo")]
)
def test_a_part_that_is_not_there_is_named(tiny_run: Run, tmp_path: Path, choice: list[str], sentence: str) -> None:
    result = musicae("interpolate", A, B, "--model", tiny_run("music"), *choice, code=2)
    assert sentence in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_is_told_from_a_damaged_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_of("models"), "callback", interrupted)
    assert musicae("models", code=130).stderr == "Stopped.\n"


def test_a_pipe_that_closes_is_no_error(tmp_path: Path) -> None:
    """`musicae inspect … | head -1` ends in silence."""
    environment = {**os.environ, "MUSICAE_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-u", str(ROOT / "cli.py"), "inspect", *[A] * 400]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait(timeout=60)


# Where results go


def test_nothing_is_overwritten_unless_that_is_asked_for(tiny_run: Run, tmp_path: Path) -> None:
    command = ["reconstruct", A, "--model", tiny_run("music")]
    first, second, forced = (musicae(*command, *more).stdout.strip() for more in ([], [], ["--force"]))
    assert (first, second, forced) == ("output/a-reconstruct.mid", "output/a-reconstruct-2.mid", first)
    (tmp_path / "mine.mid").write_bytes(b"mine")
    assert musicae(*command, "--out", "mine.mid").stdout.strip() == "mine-2.mid"
    assert (tmp_path / "mine.mid").read_bytes() == b"mine"
    path = ["interpolate", A, B, "--model", tiny_run("music"), "--steps", 2]
    folders = [Path(musicae(*path, *more).stdout.split()[0]).parent.name for more in ([], [], ["--force"])]
    assert folders == ["a-to-b-interpolate", "a-to-b-interpolate-2", "a-to-b-interpolate"]


def test_a_folder_for_results_is_made_and_other_files_in_it_stay(tiny_run: Run, tmp_path: Path) -> None:
    run = tiny_run("music")
    assert musicae("reconstruct", A, "--model", run, "--out", "new/").stdout.strip() == "new/a-reconstruct.mid"
    (tmp_path / "new" / "mine.txt").write_text("mine")
    path = musicae("interpolate", A, B, "--model", run, "--steps", 2, "--out", "new").stdout.split()
    assert path[0] == "new/interpolation.mid"
    assert {"mine.txt", "a-reconstruct.mid", "step-01.mid"} <= {file.name for file in (tmp_path / "new").iterdir()}


def test_a_folder_is_taken_with_all_below_it(tiny_run: Run, tmp_path: Path) -> None:
    for place, source in (("songs/a.mid", A), ("songs/deep/b.mid", B)):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(Path(source).read_bytes())
    result = musicae("reconstruct", "songs", "--model", tiny_run("music"))
    assert result.stdout.splitlines() == ["output/songs-reconstruct/a.mid", "output/songs-reconstruct/deep/b.mid"]
    assert musicae("render", "songs").stdout.splitlines()[1] == "output/songs-render/deep/b.wav"


def test_a_track_is_chosen_wherever_music_is_read(tiny_run: Run, tmp_path: Path) -> None:
    score = Score(A)
    high = score.tracks[0].copy()
    high.name = "high"
    high.shift_pitch(12, inplace=True)
    score.tracks.append(high)
    score.dump_midi(str(tmp_path / "two.mid"))
    run = ["--model", tiny_run("music")]
    changed = {}
    for track in ("0", "high"):
        out = musicae("reconstruct", "two.mid", *run, "--track", track, "--out", f"{track}.mid").stdout.strip()
        before, after = (
            [track.notes.numpy()["pitch"].tolist() for track in Score(file).tracks] for file in ("two.mid", out)
        )
        changed[track] = [one != other for one, other in zip(before, after, strict=True)]
    assert changed == {"0": [True, False], "high": [False, True]}
    for command in (["inspect", "two.mid"], ["attributes", "two.mid", *run], ["embed", "two.mid", *run]):
        musicae(*command, "--track", "high")
        refused = musicae(*command, "--track", "kazoo", code=2)
        assert "kazoo" in refused.stderr
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    refused = musicae("reconstruct", "a.png", "--model", tiny_run("image"), "--track", "0", code=2)
    assert "--track chooses a track of music, and this model's data is image" in refused.stderr


def test_inspect_finds_the_domain_by_what_is_in_a_folder(tmp_path: Path) -> None:
    write_chords(tmp_path / "sounds", 3)
    (tmp_path / "sounds" / "a.mid").write_bytes(Path(A).read_bytes())
    said = musicae("inspect", "sounds").stdout
    assert "from 3 of 3 files" in said and "1 other file is not read as audio." in said
    (tmp_path / "pictures").mkdir()
    for number in range(2):
        Image.effect_noise((16, 16), 50).save(tmp_path / "pictures" / f"{number}.png")
    said = musicae("inspect", "pictures").stdout
    assert "from 2 of 2 files" in said and "other" not in said and "looked at" not in said
    Image.effect_noise((24, 12), 50).save(tmp_path / "pictures" / "wide.png")
    said = musicae("inspect", "pictures").stdout
    assert "3 pictures looked at, from 16×16 to 24×12 pixels" in said and "16×16 grey" in said


def test_a_folder_without_any_medium_is_refused_for_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "a.txt").write_text("a")
    for command in ("inspect", "prepare", "denoise", "embed", "attributes"):
        assert "no pictures, music or sounds in words" in musicae(command, "words", code=2).stderr
