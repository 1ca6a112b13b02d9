"""Odd sounds go through every way of a sound: denoised, cleaned live, upscaled, and rebuilt from a code.

The models have learned nothing, so what is asked is what holds for any: the result is as long as its source, of the
same format, and made of numbers.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner
from ffmpeg_stand_in import write_foreign_sound
from sound_files import read_sound

from musicae.audio.domain import AudioConfig, AudioDomain
from musicae.audio.sound import Sound
from musicae.cli import main
from musicae.errors import DamagedFileError, MusicaeError
from musicae.models import build_model
from musicae.trained import TrainedModel, load
from musicae.training.checkpoint import Manifest, save_checkpoint

RATE_HZ = 8_000  # half of the models', which is what `upscale` doubles
FRAMES = 4_001
Folder = Callable[[str], Path]
Way = Callable[[str], TrainedModel]
# name → task, model, its settings, representation
WAYS = {
    "denoise": ("denoise", "unet", {"widths": (4, 8), "latent_size": 4}, "spectrum"),
    "live": ("denoise", "causal", {"width": 8, "layers": 2, "latent_size": 4}, "spectrum"),
    "upscale": ("upscale", "unet", {"widths": (4, 8), "latent_size": 4}, "top"),
    "reconstruct": ("reconstruct", "spectrogram", {"widths": (4, 8), "latent_size": 4, "moment_size": 2}, "magnitude"),
}
MASKING = ("denoise", "live")
FORMATS = [
    ("a.wav", "PCM_U8"), ("a.wav", "PCM_16"), ("a.wav", "PCM_24"), ("a.wav", "FLOAT"), ("a.wav", "DOUBLE"),
    ("a.flac", "PCM_16"), ("a.flac", "PCM_24"), ("a.aiff", "PCM_16"), ("a.ogg", "VORBIS"), ("a.opus", "OPUS"),
    ("a.mp3", "MPEG_LAYER_III"),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A function: one of `WAYS` → its model's folder."""
    place = tmp_path_factory.mktemp("ways")

    def folder(way: str) -> Path:
        if not (place / way).exists():
            task, name, settings, representation = WAYS[way]
            domain = AudioDomain(AudioConfig(n_fft=256, chunk_s=0.26, representation=representation))
            torch.manual_seed(0)
            manifest = Manifest(
                domain="audio", domain_settings=domain.config.model_dump(mode="json"), task=task, model=name,
                model_settings=settings,
            )  # fmt: skip
            save_checkpoint(place / way, build_model(name, domain.spec, settings), manifest)
        return place / way

    return folder


@pytest.fixture(scope="module")
def trained(folder_of: Folder) -> Way:
    """A function: one of `WAYS` → its model."""
    return lambda way: load(folder_of(way), "cpu")


def through(model: TrainedModel, source: Path, target: Path) -> Path:
    """Puts a file through what the model is for."""
    path: Path = getattr(model, model.manifest.task)(source).save(target)
    assert path == target
    return path


def command(folder_of: Folder, way: str, *arguments: object) -> list[str]:
    return [WAYS[way][0], *map(str, arguments), "--model", str(folder_of(way))]


def rate_of_result(way: str) -> int:
    return 2 * RATE_HZ if way == "upscale" else RATE_HZ


def noise(frames: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((frames, channels))


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".musicae-cache")


SOUNDS = {
    "one sample": np.full(1, 0.3),
    "two samples": np.array([0.3, -0.3]),
    "five samples": noise(5)[:, 0],
    "shorter than a window": noise(130)[:, 0],
    "constant": np.full(FRAMES, 0.25),
    "clipped": np.clip(3 * np.sin(np.arange(FRAMES) / 9), -1, 1),
    "silence": np.zeros(FRAMES),
    "one silent sample": np.zeros(1),
    "silence, then sound": np.concatenate((np.zeros(6_000), noise(3_000)[:, 0])),
    "a click": np.eye(1, FRAMES, 2_000)[0],
    "faint": 1e-7 * noise(FRAMES)[:, 0],
    "all but silent": 1e-30 * noise(FRAMES)[:, 0],
    "far beyond full scale": 1e9 * noise(FRAMES)[:, 0],
}


@pytest.mark.parametrize("what", SOUNDS)
@pytest.mark.parametrize("way", WAYS)
def test_an_odd_sound_keeps_its_length_and_is_made_of_numbers(
    trained: Way, tmp_path: Path, way: str, what: str
) -> None:
    given = SOUNDS[what]
    soundfile.write(tmp_path / "in.wav", given, RATE_HZ, subtype="FLOAT")

    after, rate_hz = soundfile.read(through(trained(way), tmp_path / "in.wav", tmp_path / "out.wav"), dtype="float32")

    assert rate_hz == rate_of_result(way)
    assert after.shape == (len(given) * rate_hz // RATE_HZ,)
    assert np.isfinite(after).all()
    assert np.abs(after).max() < 20 * np.abs(given).max() + 1e-30
    if not given.any():
        assert not after.any()
    elif way in MASKING and what == "silence, then sound":
        assert np.abs(after[:5_000]).max() < 1e-9  # a change of rate rings before the sound begins
        assert after.any()
    assert files_in(tmp_path) == ["in.wav", "out.wav"]


@pytest.mark.parametrize(("name", "subtype"), FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("way", WAYS)
def test_every_format_stays_what_it_is(
    trained: Way, tmp_path: Path, way: str, name: str, subtype: str, channels: int
) -> None:
    container = {".opus": "OGG"}.get(Path(name).suffix, Path(name).suffix[1:].upper())
    soundfile.write(tmp_path / name, noise(FRAMES, channels), RATE_HZ, subtype=subtype, format=container)

    out = through(trained(way), tmp_path / name, tmp_path / f"out-{name}")

    before, after = Sound.open(tmp_path / name), Sound.open(out)
    assert (after.container, after.subtype, after.channels) == (before.container, subtype, channels)
    assert after.sample_rate_hz == rate_of_result(way)
    samples = read_sound(out)[0]
    assert samples.shape == (len(read_sound(tmp_path / name)[0]) * after.sample_rate_hz // RATE_HZ, channels)
    assert np.isfinite(samples).all()
    assert (np.abs(samples).max(0) > 1e-3).all()


@pytest.mark.skipif(sys.platform == "win32", reason="its decoder is a shell script")
@pytest.mark.parametrize("way", WAYS)
def test_what_only_another_program_decodes_becomes_a_wav(
    trained: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    given = (32_768 * noise(FRAMES, 2)).astype(np.int16)
    write_foreign_sound(tmp_path / "a.m4a", given, RATE_HZ, monkeypatch)
    model = trained(way)

    out = getattr(model, model.manifest.task)(tmp_path / "a.m4a")

    assert (out.name, out.suffix) == ("a", ".wav")
    assert out.remarks[0] == "a.m4a: .m4a can be read and not written; what is made of it is a .wav"
    after = Sound.open(out.save(tmp_path / "out.wav"))
    assert (after.container, after.subtype, after.sample_rate_hz) == ("WAV", "PCM_16", rate_of_result(way))
    assert after.samples.shape == (FRAMES * after.sample_rate_hz // RATE_HZ, 2)
    assert (np.abs(after.samples).max(0) > 1e-3).all()
    assert files_in(tmp_path) == ["a.m4a", "bin", "out.wav"]


@pytest.mark.parametrize("rate_hz", [11_025, 16_000, 44_100])
@pytest.mark.parametrize("way", WAYS)
def test_other_rates_stay_what_they_are_or_become_the_models(
    trained: Way, tmp_path: Path, way: str, rate_hz: int
) -> None:
    for frames in (1, 3, FRAMES):
        soundfile.write(tmp_path / "in.wav", noise(frames, 2), rate_hz)

        out = Sound.open(through(trained(way), tmp_path / "in.wav", tmp_path / "out.wav"))

        wanted_hz = max(rate_hz, 16_000) if way == "upscale" else rate_hz
        assert (out.sample_rate_hz, out.channels) == (wanted_hz, 2)
        assert out.frames == round(frames * wanted_hz / rate_hz)


@pytest.mark.parametrize("way", WAYS)
def test_a_silent_channel_stays_silent_beside_another(trained: Way, tmp_path: Path, way: str) -> None:
    sound = noise(FRAMES, 2)
    sound[:, 1] = 0
    soundfile.write(tmp_path / "in.wav", sound, RATE_HZ, subtype="FLOAT")

    after, _ = soundfile.read(through(trained(way), tmp_path / "in.wav", tmp_path / "out.wav"))

    assert after[:, 0].any()
    if way in MASKING:
        assert not after[:, 1].any()


def write_bad(path: Path, what: str) -> None:
    samples = {
        "zero samples": np.zeros(0),
        "not a number at first": np.array([np.nan]),
        "not a number at last": np.append(noise(70_000)[:, 0], np.nan),
        "infinite": np.append(noise(FRAMES)[:, 0], -np.inf),
        "text": None,
        "empty": None,
    }[what]
    if samples is None:
        path.write_text("Dear diary, this is a text file.\n" * 50 if what == "text" else "", encoding="utf-8")
    else:
        soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("zero samples", "has no samples"),
        ("not a number at first", "not finite numbers"),
        ("not a number at last", "not finite numbers"),
        ("infinite", "not finite numbers"),
        ("text", "is not a sound that can be read"),
        ("empty", "is empty"),
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_no_sound_is_one_sentence_and_leaves_what_was_there(
    folder_of: Folder, trained: Way, tmp_path: Path, way: str, what: str, sentence: str
) -> None:
    write_bad(tmp_path / "bad.wav", what)
    (tmp_path / "old.wav").write_text("mine")

    for target in ("old.wav", "new.wav"):
        with pytest.raises(DamagedFileError, match=sentence) as caught:
            through(trained(way), tmp_path / "bad.wav", tmp_path / target)
        assert "\n" not in str(caught.value)
    result = CliRunner().invoke(
        main, command(folder_of, way, tmp_path / "bad.wav", "--out", tmp_path / "new.wav"), prog_name="musicae"
    )

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1, result.stderr
    assert files_in(tmp_path) == ["bad.wav", "old.wav"]
    assert (tmp_path / "old.wav").read_text() == "mine"


@pytest.mark.parametrize("way", WAYS)
def test_a_model_that_gives_no_numbers_is_one_sentence_and_leaves_nothing(
    trained: Way, tmp_path: Path, way: str
) -> None:
    soundfile.write(tmp_path / "in.wav", noise(FRAMES, 2), RATE_HZ)
    broken = trained(way)
    for parameter in broken.network.parameters():
        parameter.data.fill_(torch.nan)

    with pytest.raises(MusicaeError, match="not finite; train it again or use another"):
        through(broken, tmp_path / "in.wav", tmp_path / "out.wav")

    assert files_in(tmp_path) == ["in.wav"]


# As it arrives


def streamed(model: TrainedModel, samples: np.ndarray, size: int, rate_hz: int) -> np.ndarray:
    blocks = [samples[start : start + size] for start in range(0, len(samples), size)]
    return np.concatenate([samples[:0], *model.stream(blocks, sample_rate_hz=rate_hz)])


@pytest.mark.parametrize("channels", [None, 1, 2])
@pytest.mark.parametrize("rate_hz", [16_000, RATE_HZ])
@pytest.mark.parametrize("what", SOUNDS)
def test_an_odd_stream_is_as_the_file_would_be(
    trained: Way, tmp_path: Path, what: str, rate_hz: int, channels: int | None
) -> None:
    given = SOUNDS[what].astype(np.float32)
    if channels is not None:
        given = np.stack((given, -0.5 * given), 1)[:, :channels]
    soundfile.write(tmp_path / "in.wav", given, rate_hz, subtype="FLOAT")
    live = trained("live")

    after = streamed(live, given, 333, rate_hz)

    assert after.shape == given.shape
    assert after.dtype == np.float32
    assert np.isfinite(after).all()
    expected = soundfile.read(through(live, tmp_path / "in.wav", tmp_path / "out.wav"), dtype="float32")[0]
    np.testing.assert_allclose(after, expected.reshape(after.shape), atol=1e-5 * np.abs(given).max())


@pytest.mark.parametrize("blocks", [[], [np.zeros(0, np.float32)], [np.zeros((0, 2), np.float32)] * 3])
def test_a_stream_of_nothing_gives_nothing(trained: Way, blocks: list[np.ndarray]) -> None:
    for rate_hz in (16_000, RATE_HZ):
        assert not list(trained("live").stream(blocks, sample_rate_hz=rate_hz))


@pytest.mark.parametrize(
    ("sample_format", "dtype", "values"),
    [
        ("s16le", "<i2", [-32_768, 32_767]),
        ("u8", "u1", [0, 255]),
        ("s32le", "<i4", [-(2**31), 2**31 - 1]),
        ("f32le", "<f4", [-1.0, 1.0]),
    ],
)
@pytest.mark.parametrize("frames", [0, 1, 2, 600])
def test_full_scale_and_few_samples_go_through_a_pipe(
    folder_of: Folder, sample_format: str, dtype: str, values: list[float], frames: int
) -> None:
    data = np.resize(np.array(values).repeat(50), 2 * frames).astype(dtype).tobytes()
    options = ["--channels", "2", "--sample-format", sample_format]

    result = CliRunner().invoke(main, command(folder_of, "live", "-", *options), input=data)

    assert result.exit_code == 0, result.output
    assert len(result.stdout_bytes) == len(data)
    assert np.isfinite(np.frombuffer(result.stdout_bytes, dtype)).all()


def test_silence_in_a_pipe_stays_silence(folder_of: Folder) -> None:
    for sample_format, silent in (("s16le", b"\0\0"), ("s24le", b"\0\0\0"), ("u8", b"\x80"), ("f32le", b"\0\0\0\0")):
        options = ["--sample-format", sample_format, "--sample-rate", "8000"]
        result = CliRunner().invoke(main, command(folder_of, "live", "-", *options), input=2_000 * silent)
        assert result.stdout_bytes == 2_000 * silent, sample_format


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_pipe_that_stops_being_numbers_is_one_sentence(folder_of: Folder, value: float) -> None:
    data = np.append(noise(2_000)[:, 0], value).astype("<f4").tobytes()

    result = CliRunner().invoke(main, command(folder_of, "live", "-", "--sample-format", "f32le"), input=data)

    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("Error: the stream holds samples that are not finite numbers")
    assert np.isfinite(np.frombuffer(result.stdout_bytes, "<f4")).all()
