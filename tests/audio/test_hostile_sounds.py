"""Sound files that claim what no recording is, or would lead a decoder to other files: refused in one sentence."""

import io
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from ffmpeg_stand_in import write_foreign_sound

from musicae.audio.config import AudioConfig, corruption_of
from musicae.audio.domain import AudioDomain
from musicae.audio.noise_recordings import NoiseRecordings
from musicae.audio.sound import Sound
from musicae.data.dataset import load_dataset
from musicae.errors import DamagedFileError, MusicaeError

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the program ffmpeg")
needs_a_shell = pytest.mark.skipif(sys.platform == "win32", reason="its decoder is a shell script")
DOMAIN = AudioDomain(AudioConfig(n_fft=256, chunk_s=0.26))


def wav(frames: int = 32_768, rate_hz: int = 16_000, channels: int = 1) -> bytes:
    """A plain WAV of noise with any header."""
    data = np.random.default_rng(0).integers(-9_000, 9_000, frames * channels, np.int16).tobytes()
    layout = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * 2 * channels % 2**32, 2 * channels, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt \x10\0\0\0"
        + layout
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )


def refusal(path: Path) -> str:
    """The one sentence with which a file is refused when it is opened."""
    with pytest.raises(DamagedFileError) as refused:
        Sound.open(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


# Rates and lengths


@pytest.mark.parametrize("rate_hz", [1, 999, 768_001, 2**31 - 1])
def test_a_rate_that_no_sound_has_is_refused_wherever_a_file_is_opened(tmp_path: Path, rate_hz: int) -> None:
    """At 1 Hz these 64 KB would be nine hours, and 2 GB at 16 kHz."""
    path = tmp_path / "a.wav"
    path.write_bytes(wav(rate_hz=rate_hz))
    assert f"claims {rate_hz:,} Hz" in refusal(path)
    for source in (path.read_bytes(), io.BytesIO(path.read_bytes())):
        with pytest.raises(DamagedFileError, match=r"this data claims|claims"):
            Sound.open(source)
    with pytest.raises(DamagedFileError, match="claims"):
        DOMAIN.read(path)
    assert NoiseRecordings.read([path], 16_000) is None
    with pytest.raises(MusicaeError, match="no noise can be read"):
        corruption_of("denoise", AudioConfig(noise=(str(path),)), "all", None)


@pytest.mark.parametrize("rate_hz", [1_000, 768_000])
def test_the_slowest_and_the_fastest_rates_are_read(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(4_000, rate_hz))
    assert len(DOMAIN.read(path).examples) > 0 or rate_hz > 1_000
    assert Sound.open(path).resample(16_000).samples.shape == (4_000 * 16_000 // rate_hz,)


def test_a_rate_claimed_beside_samples_or_a_stream_is_refused() -> None:
    samples = np.zeros(16, np.float32)
    for rate_hz in (1, 999, 2**31):
        for claim in (
            lambda rate: Sound(samples, rate),
            lambda rate: Sound.open(samples, sample_rate_hz=rate),
            lambda rate: Sound(samples, 16_000).resample(rate),
            lambda rate: DOMAIN.open(samples, sample_rate_hz=rate),
            lambda rate: DOMAIN.open_stream(np.ones_like, channels=1, sample_rate_hz=rate),
        ):
            with pytest.raises(ValueError, match="from 1,000 to 768,000"):
                claim(rate_hz)


def test_a_data_set_leaves_such_files_out_and_counts_them(tmp_path: Path) -> None:
    for name, rate_hz in (("good", 16_000), ("better", 16_000), ("slow", 1), ("fast", 2**30)):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{name}.wav").write_bytes(wav(16_000, rate_hz))
    report = load_dataset(DOMAIN, [tmp_path / "data"]).report
    assert sorted(report.damaged) == ["data/fast.wav", "data/slow.wav"]


def test_a_small_file_of_compressed_silence_is_refused_and_nothing_is_decoded(tmp_path: Path) -> None:
    """A day of silence at 8 kHz takes 0.7 MB as FLAC; a header alone can claim as much."""
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(1_000, np.int16), 8_000)
    data = bytearray(path.read_bytes())
    data[21:26] = bytes([data[21] & 0xF0 | 0x0F]) + struct.pack(">I", 2**32 - 1)  # 36 bits of a length
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match=r"longer than 3\.5 hours"):
        DOMAIN.read(path)


def test_a_sound_whose_length_nothing_states_is_given_up_when_it_grows_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("musicae.audio.excerpts.MOST_SAMPLES", 1_000_000)
    asked = []

    def endless():
        block = np.ones((2**14, 1), np.float32)
        while True:
            asked.append(len(block))
            assert sum(asked) < 200_000  # at 1 kHz; 16 times as many at the model's
            yield block

    with pytest.raises(DamagedFileError, match="longer than"):
        DOMAIN.examples(Sound.from_blocks(endless, 1_000, 1))


def test_channels_by_the_hundred_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(10, 16_000, 64))
    assert Sound.open(path).channels == 64
    path.write_bytes(wav(10, 16_000, 1_000))
    assert "claims 1,000 channels" in refusal(path)


# Decoded by content, and nothing but the file

PLAYLISTS = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{other}\n#EXT-X-ENDLIST\n",
    "HLS after an empty line": "\n#EXTM3U\n#EXTINF:10,\n{other}\n",
    "ffconcat": "ffconcat version 1.0\nfile '{other}'\n",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    "DASH": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{other}</BaseURL></MPD>',
    "PLS": "[playlist]\nFile1={other}\nNumberOfEntries=1\n",
    "RTSP reference": "[Reference]\nRef1={other}\n",
    "an address": "file:{other}\n",
    "tagged HLS": "ID3\4\0\0\0\0\0\0#EXTM3U\n#EXTINF:10,\n{other}\n",
}


@needs_ffmpeg
def test_a_playlist_named_like_a_sound_does_not_read_another_file(tmp_path: Path) -> None:
    other = tmp_path / "other.wav"
    other.write_bytes(wav())
    for text in PLAYLISTS.values():
        for suffix in (".m4a", ".wav"):
            (tmp_path / f"list{suffix}").write_text(text.format(other=other))
            refusal(tmp_path / f"list{suffix}")
    # FFmpeg itself, told nothing, reads one.
    (tmp_path / "list.m4a").write_text(PLAYLISTS["ffconcat"].format(other="other.wav"))
    obeyed = ["ffmpeg", "-loglevel", "quiet", "-i", "list.m4a", "-f", "s16le", "-"]
    assert subprocess.run(obeyed, cwd=tmp_path, capture_output=True, timeout=60, check=False).stdout
    refusal(tmp_path / "list.m4a")


@needs_ffmpeg
def test_a_playlist_that_is_taken_for_a_sound_reaches_a_decoder_that_opens_nothing(tmp_path: Path) -> None:
    """The first bytes are those of an MP4, so the content is only known to be none once FFmpeg is asked."""
    (tmp_path / "other.wav").write_bytes(wav())
    path = tmp_path / "list.m4a"
    path.write_bytes(b"\0\0\0\x18ftypM4A #EXTM3U\n#EXTINF:10,\n" + bytes(tmp_path / "other.wav") + b"\n")
    assert "is not a sound that can be read" in refusal(path)


@needs_a_shell
def test_ffmpeg_is_asked_for_one_format_and_one_file_and_not_at_all_for_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_foreign_sound(tmp_path / "-i http: 100%03d|.m4a", np.ones((50, 1), np.int16), 16_000, monkeypatch)
    program, asked = tmp_path / "bin" / "ffmpeg", tmp_path / "asked"
    program.write_text(program.read_text().replace("#!/bin/sh\n", f'#!/bin/sh\nprintf "%s\\n" "$@" > "{asked}"\n'))
    # FFmpeg writes no file, and neither can the program that stands in for it: so it is let off that limit here.
    monkeypatch.setattr("musicae.audio.ffmpeg.limited", lambda command, **_: command)
    monkeypatch.chdir(tmp_path)

    assert len(Sound.open(path.name).samples) == 50

    words = asked.read_text().splitlines()
    before = words[: words.index("-i")]
    for option, value in (("-protocol_whitelist", "file"), ("-format_whitelist", "mov"), ("-f", "mov")):
        assert before[before.index(option) + 1] == value
    assert words[words.index("-i") + 1] == f"file:{path}"
    asked.unlink()
    for text in PLAYLISTS.values():
        (tmp_path / "list.m4a").write_text(text.format(other=path))
        if not text.startswith("ID3"):
            refusal(tmp_path / "list.m4a")
            assert not asked.exists()


@needs_a_shell
def test_a_decoder_that_hangs_crashes_or_never_ends_is_a_damaged_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("musicae.audio.ffmpeg.SILENT_S", 0.3)
    path = write_foreign_sound(tmp_path / "a.m4a", np.ones((50_000, 1), np.int16), 16_000, monkeypatch)
    program = tmp_path / "bin" / "ffmpeg"
    honest = program.read_text().replace("exec tail", "tail")
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    assert "is not a sound that can be read" in refusal(path)
    for end in ("exec sleep 60", "kill -SEGV $$", "exit 1"):
        program.write_text(f"{honest}{end}\n")
        with pytest.raises(DamagedFileError, match="breaks off in the middle"):
            Sound.open(path).samples  # noqa: B018  # reads it


@needs_ffmpeg
@pytest.mark.parametrize(("suffix", "codec"), [(".m4a", "aac"), (".aac", "aac"), (".webm", "libopus")])
def test_what_ffmpeg_writes_is_read_through_it(tmp_path: Path, suffix: str, codec: str) -> None:
    time_s = np.arange(48_000) / 48_000
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * time_s), 48_000)
    made = ["ffmpeg", "-loglevel", "error", "-i", "a.wav", "-c:a", codec, f"b{suffix}"]
    if subprocess.run(made, cwd=tmp_path, timeout=60, check=False).returncode:
        pytest.skip(f"this ffmpeg has no encoder {codec}")
    sound = Sound.open(tmp_path / f"b{suffix}")
    assert (sound.sample_rate_hz, sound.channels) == (48_000, 1)
    assert len(sound.samples) == pytest.approx(48_000, abs=3_000)
    assert sound.rms == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize(
    "head", [b" paf", b"FORM\0\0\0\x108SVX", b"NIST_1A\n", b"Creative Voice File\x1a", b"MATLAB 5.0"]
)
def test_formats_that_nobody_asked_for_reach_no_decoder(tmp_path: Path, head: bytes) -> None:
    """libsndfile has readers for these, each with its own bugs."""
    (tmp_path / "a.wav").write_bytes(head + bytes(2_000))
    assert "it begins as no such file does" in refusal(tmp_path / "a.wav")
