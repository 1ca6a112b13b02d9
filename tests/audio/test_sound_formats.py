"""A sound comes out as it went in: container, subtype, rate, channels and length."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from ffmpeg_stand_in import write_foreign_sound
from sound_files import map_file, read_sound, shape_of

from musicae.audio.domain import AudioConfig, AudioDomain
from musicae.audio.formats import result_format
from musicae.audio.sound import Sound
from musicae.cli import main
from musicae.errors import MusicaeError

LOSSLESS = [
    ("a.wav", "PCM_U8"), ("a.wav", "PCM_16"), ("a.wav", "PCM_24"), ("a.wav", "PCM_32"), ("a.wav", "FLOAT"),
    ("a.wav", "DOUBLE"), ("a.flac", "PCM_S8"), ("a.flac", "PCM_16"), ("a.flac", "PCM_24"), ("a.aiff", "PCM_24"),
    ("a.aif", "PCM_16"), ("a.au", "PCM_16"), ("a.au", "ULAW"), ("a.caf", "ALAC_16"), ("a.caf", "FLOAT"),
    ("a.w64", "PCM_24"), ("a.rf64", "PCM_16"),
]  # fmt: skip
LOSSY = [("a.ogg", "VORBIS"), ("a.oga", "VORBIS"), ("a.ogg", "OPUS"), ("a.opus", "OPUS"), ("a.mp3", "MPEG_LAYER_III")]
FORMATS = {".aif": "AIFF", ".oga": "OGG", ".opus": "OGG"}


@pytest.fixture(scope="module")
def domain() -> AudioDomain:
    return AudioDomain(AudioConfig(n_fft=256, chunk_s=0.26))


def identity(batch):
    return batch


def tones(frames: int, rate_hz: int, channels: int) -> np.ndarray:
    time_s = np.arange(frames) / rate_hz
    return 0.4 * np.stack([np.sin(2 * np.pi * (440 + 220 * number) * time_s) for number in range(channels)], 1)


def write(path: Path, subtype: str, rate_hz: int = 16_000, channels: int = 2, frames: int = 20_011) -> Path:
    container = FORMATS.get(path.suffix, path.suffix[1:].upper())
    soundfile.write(path, tones(frames, rate_hz, channels), rate_hz, subtype=subtype, format=container)
    return path


@pytest.mark.parametrize(("name", "subtype"), LOSSLESS)
def test_a_lossless_format_stays_what_it_is_to_the_frame(
    tmp_path: Path, domain: AudioDomain, name: str, subtype: str
) -> None:
    source = write(tmp_path / name, subtype)
    target = tmp_path / f"out{Sound.open(source).suffix}"
    map_file(domain, source, target, identity, "denoise")
    assert shape_of(target) == shape_of(source)
    assert soundfile.info(target).frames == 20_011
    step = 2.0 ** -(7 if "8" in subtype else 15)
    if subtype != "ULAW":
        assert np.abs(read_sound(target)[0] - read_sound(source)[0]).max() <= step


@pytest.mark.parametrize(("name", "subtype"), LOSSY)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_lossy_format_stays_what_it_is_and_keeps_its_length_too(
    tmp_path: Path, domain: AudioDomain, name: str, subtype: str, channels: int
) -> None:
    """libsndfile writes the true length into all of these, so that players leave the codec's padding out."""
    source = write(tmp_path / name, subtype, 48_000, channels)
    target = tmp_path / f"out{Sound.open(source).suffix}"
    map_file(domain, source, target, identity, "denoise")
    assert shape_of(target) == shape_of(source)
    before, after = read_sound(source)[0], read_sound(target)[0]
    assert len(after) == len(before) == 20_011
    assert ((after - before) ** 2).mean() < 0.03 * (before**2).mean()


@pytest.mark.parametrize("name", ["a.ogg", "a.mp3", "a.flac"])
def test_a_minute_is_encoded_and_one_sample_as_well(tmp_path: Path, domain: AudioDomain, name: str) -> None:
    for frames in (60 * 16_000, 1):
        subtype = {".ogg": "VORBIS", ".mp3": "MPEG_LAYER_III", ".flac": "PCM_16"}[Path(name).suffix]
        source = write(tmp_path / name, subtype, frames=frames, channels=1)
        map_file(domain, source, tmp_path / f"out-{name}", identity, "denoise")
        assert soundfile.info(tmp_path / f"out-{name}").frames == soundfile.info(source).frames


def test_full_scale_does_not_wrap_in_any_format(tmp_path: Path) -> None:
    loud = 1.5 * np.sin(2 * np.pi * 300 * np.arange(16_000) / 16_000)[:, None]
    for name, subtype in [*LOSSLESS, *LOSSY]:
        Sound(loud, 16_000, subtype=subtype).save(tmp_path / name)
        after = read_sound(tmp_path / name)[0]
        assert np.corrcoef(after[:, 0], loud[:, 0])[0, 1] > 0.97, (name, subtype)


@pytest.mark.parametrize(
    ("subtype", "name", "expected"),
    [
        ("PCM_16", "out.flac", "PCM_16"),
        ("PCM_U8", "out.flac", "PCM_S8"),
        ("PCM_S8", "out.wav", "PCM_U8"),
        ("PCM_32", "out.flac", "PCM_24"),
        ("FLOAT", "out.flac", "PCM_24"),
        ("DOUBLE", "out.w64", "DOUBLE"),
        ("ULAW", "out.flac", "PCM_16"),
        ("VORBIS", "out.wav", "PCM_16"),
        ("MPEG_LAYER_III", "out.wav", "PCM_16"),
        ("MPEG_LAYER_III", "out.ogg", "VORBIS"),
        ("IMA_ADPCM", "out.wav", "PCM_16"),
        ("PCM_24", "out.OGG", "VORBIS"),
        ("OPUS", "out.ogg", "OPUS"),
        ("VORBIS", "out.opus", "OPUS"),
        ("PCM_24", "out.mp3", "MPEG_LAYER_III"),
        ("ALAC_24", "out.wav", "PCM_24"),
        ("FLOAT", "out.aiff", "FLOAT"),
    ],
)
def test_another_container_gets_the_nearest_kind_of_samples(subtype: str, name: str, expected: str) -> None:
    found = result_format(Path(name), subtype=subtype, container="WAV", sample_rate_hz=16_000, channels=1, frames=100)
    assert found.subtype == expected


@pytest.mark.parametrize(
    ("name", "rate_hz", "channels", "frames", "sentence"),
    [
        ("out.opus", 44_100, 1, 1, "Opus holds 8000, 12000, 16000, 24000, 48000 Hz and this sound has 44100 Hz"),
        ("out.mp3", 96_000, 2, 1, "MP3 holds .* and this sound has 96000 Hz"),
        ("out.mp3", 44_100, 6, 1, "MP3 holds 2 channels at most and this sound has 6"),
        ("out.flac", 44_100, 9, 1, "FLAC holds 8 channels at most"),
        ("out.aiff", 44_100, 2, 2**31, "AIFF holds 4 GB at most"),
        ("out.m4a", 44_100, 2, 1, "sounds are written as .wav, .flac"),
        ("out", 44_100, 2, 1, "choose a name with such an ending"),
    ],
)
def test_what_a_format_cannot_hold_is_said(name: str, rate_hz: int, channels: int, frames: int, sentence: str) -> None:
    with pytest.raises(MusicaeError, match=sentence) as caught:
        result_format(
            Path(name), subtype="PCM_16", container="WAV", sample_rate_hz=rate_hz, channels=channels, frames=frames
        )
    assert "\n" not in str(caught.value)


def test_a_large_wav_and_one_that_was_rf64_are_rf64() -> None:
    given = {"subtype": "PCM_16", "sample_rate_hz": 48_000, "channels": 2}
    assert result_format(Path("a.wav"), **given, container="WAV", frames=2**31).container == "RF64"
    assert result_format(Path("a.wav"), **given, container="RF64", frames=10).container == "RF64"
    assert result_format(Path("a.flac"), **given, container="RF64", frames=10).container == "FLAC"


@pytest.mark.skipif(sys.platform == "win32", reason="its decoder is a shell script")
def test_what_cannot_be_written_becomes_a_wav_with_a_remark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_foreign_sound(tmp_path / "a.m4a", np.ones((100, 1), np.int16), 16_000, monkeypatch)
    sound = Sound.open(tmp_path / "a.m4a")
    assert sound.suffix == ".wav"
    assert sound.remarks == ("a.m4a: .m4a can be read and not written; what is made of it is a .wav",)
    soundfile.write(tmp_path / "A.FLAC", np.zeros(10), 16_000)
    assert Sound.open(tmp_path / "A.FLAC").suffix == ".FLAC"
    assert Sound.open(tmp_path / "A.FLAC").remarks == ()


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files with the resource module")
@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.mp3"])
def test_a_full_disk_leaves_no_half_of_an_encoded_file(tmp_path: Path, name: str) -> None:
    code = f"""
    import resource, signal
    import numpy as np
    from pathlib import Path
    from musicae.errors import MusicaeError
    from musicae.audio.sound import Sound
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    noise = 0.1 * np.random.default_rng(0).standard_normal((500_000, 1)).astype(np.float32)
    try:
        Sound(noise, 16_000).save({str(tmp_path / name)!r})
    except MusicaeError as error:
        print(error)
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert "cannot be written" in result.stdout
    assert list(tmp_path.glob("*")) + list(tmp_path.glob(".*.partial")) == []


def test_denoise_names_results_after_their_sources_formats(tiny_run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, subtype in (("one.flac", "PCM_24"), ("two.ogg", "VORBIS"), ("three.wav", "FLOAT")):
        write(tmp_path / name, subtype, 8_000, 1, 8_000)
    model = ["--model", str(tiny_run("audio"))]

    def denoised(*arguments: str) -> list[str]:
        result = CliRunner().invoke(main, ["denoise", *arguments, *model])
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines()

    assert denoised("one.flac") == ["output/one-denoise.flac"]
    assert denoised("two.ogg") == ["output/two-denoise.ogg"]
    assert soundfile.info("output/one-denoise.flac").subtype == "PCM_24"
    folder = denoised("one.flac", "two.ogg", "three.wav", "--out", "clean")
    assert [Path(path).name for path in folder] == ["one.flac", "two.ogg", "three.wav"]
    assert soundfile.info("clean/three.wav").subtype == "FLOAT"
    denoised("three.wav", "--out", "three.flac")
    assert (soundfile.info("three.flac").format, soundfile.info("three.flac").subtype) == ("FLAC", "PCM_24")
    refused = CliRunner().invoke(main, ["denoise", "one.flac", "--out", "one.xyz", *model])
    assert refused.exit_code == 2
    assert "choose a name with such an ending" in refused.stderr
