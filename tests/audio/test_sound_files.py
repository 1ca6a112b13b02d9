"""Any sound is read in blocks, resampled without seams, and written whole or not at all."""

import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from ffmpeg_stand_in import write_foreign_sound
from sound_files import read_sound, resampled, shape_of, write_sound

from musicae.audio.sound import Resampler, Sound, resample_blocks
from musicae.errors import DamagedFileError, MusicaeError

SUBTYPES = {"PCM_U8": 2**-7, "PCM_16": 2**-15, "PCM_24": 2**-23, "PCM_32": 1e-7, "FLOAT": 1e-7, "DOUBLE": 1e-7}


def noise(frames: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.9, 0.9, (frames, channels)).astype(np.float32)


def sine(frequency_hz: float, rate_hz: int, seconds: float = 1.0) -> np.ndarray:
    return np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate_hz)) / rate_hz).astype(np.float32)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("subtype", SUBTYPES)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_a_wav_keeps_its_samples_rate_channels_and_kind(tmp_path: Path, subtype: str, channels: int) -> None:
    samples = noise(3_000, channels)

    write_sound(samples, tmp_path / "a.wav", 22_050, subtype=subtype)
    again, rate_hz = read_sound(tmp_path / "a.wav")

    assert shape_of(tmp_path / "a.wav") == (22_050, channels, 3_000, subtype, "WAV")
    assert rate_hz == 22_050
    assert np.abs(again - samples).max() <= SUBTYPES[subtype] / 2 + 1e-7
    assert files_in(tmp_path) == ["a.wav"]


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24"])
def test_integer_samples_come_back_bit_for_bit(tmp_path: Path, subtype: str) -> None:
    write_sound(noise(4_000), tmp_path / "first.wav", 8_000, subtype=subtype)
    first, _ = read_sound(tmp_path / "first.wav")
    extremes = np.array([[-1.0], [first.max()]], np.float32)

    write_sound(np.concatenate((first, extremes)), tmp_path / "second.wav", 8_000, subtype=subtype)

    assert np.array_equal(read_sound(tmp_path / "second.wav")[0], np.concatenate((first, extremes)))


def test_too_loud_integers_are_clipped_and_floats_kept(tmp_path: Path) -> None:
    loud = np.array([1.5, -1.5, 0.25], np.float32)

    write_sound(loud, tmp_path / "integer.wav", 8_000)
    write_sound(loud, tmp_path / "float.wav", 8_000, subtype="FLOAT")

    assert read_sound(tmp_path / "integer.wav")[0][:, 0].tolist() == pytest.approx([1.0, -1.0, 0.25], abs=1e-4)
    assert read_sound(tmp_path / "float.wav")[0][:, 0].tolist() == [1.5, -1.5, 0.25]


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.mp3", "a.aiff", "a.au", "a.caf", "a.w64"])
def test_other_containers_are_read(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, 0.5 * sine(440, 44_100), 44_100)

    samples, rate_hz = read_sound(tmp_path / name)

    assert rate_hz == 44_100
    assert abs(len(samples) - 44_100) < 3_000  # mp3 adds silence
    assert np.sqrt((samples**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


@pytest.mark.skipif(sys.platform == "win32", reason="its decoder is a shell script")
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_what_only_ffmpeg_reads_is_read_to_the_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int
) -> None:
    for frames in (1, 700, 70_001):
        samples = (32_768 * noise(frames, channels)).astype(np.int16)
        path = write_foreign_sound(tmp_path / "a.m4a", samples, 16_000, monkeypatch)
        with pytest.raises(soundfile.SoundFileError):
            soundfile.info(path)

        read, rate_hz = read_sound(path)

        assert np.array_equal(read, samples.astype(np.float32) / 32_768)
        assert (rate_hz, Sound.open(path).channels) == (16_000, channels)
        assert Sound.open(path).frames == frames
        assert max(len(block) for block in Sound.open(path).blocks(999)) == min(frames, 999)


@pytest.mark.skipif(sys.platform == "win32", reason="its decoder is a shell script")
def test_what_no_decoder_reads_names_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_foreign_sound(tmp_path / "a.m4a", np.zeros((0, 1)), 16_000, monkeypatch)
    with pytest.raises(DamagedFileError, match="has no samples"):
        read_sound(path)
    (tmp_path / "bin" / "ffmpeg").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(DamagedFileError, match=r"for \.m4a, \.aac or \.mp4 that FFmpeg is installed"):
        read_sound(path)


def test_blocks_join_to_the_whole_file(tmp_path: Path) -> None:
    samples = noise(10_001, 2)
    write_sound(samples, tmp_path / "a.wav", 16_000, subtype="FLOAT")

    blocks = list(Sound.open(tmp_path / "a.wav").blocks(999))

    assert max(len(block) for block in blocks) == 999
    assert np.array_equal(np.concatenate(blocks), samples)


@pytest.mark.parametrize(("from_hz", "to_hz"), [(44_100, 16_000), (8_000, 16_000), (48_000, 44_100), (16_000, 16_000)])
def test_resampling_keeps_time_pitch_and_level(from_hz: int, to_hz: int) -> None:
    before = 0.5 * sine(1_000, from_hz)

    after = resampled(before, from_hz, to_hz)

    assert abs(len(after) - to_hz) <= 1
    middle = slice(to_hz // 10, -to_hz // 10)
    expected = 0.5 * sine(1_000, to_hz)
    assert np.abs(after[: len(expected)][middle] - expected[: len(after)][middle]).max() < 1e-3


def test_resampling_in_blocks_equals_resampling_at_once() -> None:
    samples = noise(30_000, 3)

    blocks = [samples[start : start + 777] for start in range(0, len(samples), 777)]
    streamed = np.concatenate(list(resample_blocks(blocks, 44_100, 16_000)))

    assert np.array_equal(streamed, np.concatenate(list(resample_blocks([samples], 44_100, 16_000))))


def test_equal_rates_pass_through_untouched() -> None:
    block = noise(100, 2)

    assert Resampler(16_000, 16_000, 2).push(block) is block


def test_mono_is_the_mean_of_the_channels(tmp_path: Path) -> None:
    samples = noise(5_000, 6)
    write_sound(samples, tmp_path / "a.wav", 16_000, subtype="FLOAT")

    assert np.allclose(Sound.open(tmp_path / "a.wav").mono().samples, samples.mean(1), atol=1e-6)


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(MusicaeError, match=r"no such file: .*gone\.wav"):
        Sound.open(tmp_path / "gone.wav")
    with pytest.raises(MusicaeError, match="is not a file"):
        Sound.open(tmp_path)


def damaged_files(folder: Path) -> dict[str, Path]:
    """Files that claim to be sounds and aren't: what is wrong → path."""
    files = {name: folder / f"{name}.wav" for name in ("empty", "text", "zero samples", "nan", "infinite", "header")}
    files["empty"].write_bytes(b"")
    files["text"].write_text("This is not a sound.\n" * 100)
    soundfile.write(files["zero samples"], np.zeros(0), 16_000)
    soundfile.write(files["nan"], np.array([0.1, np.nan, 0.2]), 16_000, subtype="FLOAT")
    soundfile.write(files["infinite"], np.array([0.1, np.inf, 0.2]), 16_000, subtype="FLOAT")
    files["header"].write_bytes(b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt ")
    return files


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("empty", "is empty"),
        ("text", "is not a sound that can be read"),
        ("zero samples", "has no samples"),
        ("nan", "not finite numbers"),
        ("infinite", "not finite numbers"),
        ("header", "is not a sound that can be read"),
    ],
)
def test_damaged_files_are_one_sentence(tmp_path: Path, what: str, sentence: str) -> None:
    path = damaged_files(tmp_path)[what]

    with pytest.raises(DamagedFileError, match=sentence) as caught:
        read_sound(path)

    assert caught.value.exit_code == 1
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_random_bytes_never_crash(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    soundfile.write(tmp_path / "good.flac", noise(20_000), 16_000)
    soundfile.write(tmp_path / "good.wav", noise(20_000), 16_000)
    outcomes = {"read": 0, "refused": 0}
    for name in ("good.flac", "good.wav"):
        data = np.frombuffer((tmp_path / name).read_bytes(), np.uint8)
        for _ in range(60):
            changed = data.copy()[: generator.integers(1, len(data))]
            places = generator.integers(0, min(len(changed), 200), 4)
            changed[places] = generator.integers(0, 256, 4)
            (tmp_path / f"bad-{name}").write_bytes(changed.tobytes())
            try:
                for block in Sound.open(tmp_path / f"bad-{name}").blocks():
                    assert np.isfinite(block).all()
                outcomes["read"] += 1
            except DamagedFileError:
                outcomes["refused"] += 1
    assert sum(outcomes.values()) == 120
    assert outcomes["refused"] > 0


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_write_that_stops_half_way_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    def interrupted() -> Iterator[np.ndarray]:
        yield noise(100_000)
        raise KeyboardInterrupt

    sound = Sound.from_blocks(interrupted, 8_000, 1, 200_000)
    with pytest.raises(KeyboardInterrupt):
        sound.save(tmp_path / name)
    assert files_in(tmp_path) == []

    (tmp_path / name).write_text("before")
    with pytest.raises(KeyboardInterrupt):
        sound.save(tmp_path / name)
    assert (tmp_path / name).read_text() == "before"
    assert files_in(tmp_path) == [name]


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files with the resource module")
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, subtype: str) -> None:
    code = f"""
    import resource, signal
    import numpy as np
    from pathlib import Path
    from musicae.errors import MusicaeError
    from musicae.audio.sound import Sound
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        Sound(np.zeros(500_000, np.float32), 16_000, subtype={subtype!r}).save({str(tmp_path / "a.wav")!r})
    except MusicaeError as error:
        print(error)
    """

    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=True
    )

    assert "cannot be written" in result.stdout
    assert result.stderr == ""
    assert files_in(tmp_path) == []


def test_a_file_beyond_four_gigabytes_becomes_rf64(tmp_path: Path) -> None:
    Sound.from_blocks(lambda: [noise(1_000, 2)], 48_000, 2, frames=2**31).save(tmp_path / "a.wav")

    assert soundfile.info(tmp_path / "a.wav").format == "RF64"
    assert read_sound(tmp_path / "a.wav")[0].shape == (1_000, 2)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(MusicaeError, match=r"since .*file is a file"):
        write_sound(noise(10), tmp_path / "file" / "a.wav", 8_000)
