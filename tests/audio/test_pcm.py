"""Raw samples in a pipe: the bytes that other programs mean, and `musicae denoise -` between two of them."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from musicae.audio.domain import AudioConfig, AudioDomain
from musicae.audio.streaming import SAMPLE_FORMATS, decode_pcm, encode_pcm, read_pcm
from musicae.cli import main
from musicae.commands import pipe
from musicae.models import build_model
from musicae.trained import load
from musicae.training.checkpoint import Manifest, save_checkpoint

SUBTYPES = {"u8": "PCM_U8", "s16le": "PCM_16", "s24le": "PCM_24", "s32le": "PCM_32", "f32le": "FLOAT"}


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """A causal model that has learned nothing."""
    domain = AudioDomain(AudioConfig(n_fft=512, chunk_s=0.5))
    settings = {"width": 16, "layers": 2, "latent_size": 4}
    manifest = Manifest(
        domain="audio", domain_settings=domain.config.model_dump(mode="json"), task="denoise", model="causal",
        model_settings=settings,
    )  # fmt: skip
    save_checkpoint(tmp_path / "live", build_model("causal", domain.spec, settings), manifest)
    return tmp_path / "live"


def sound(samples: int, channels: int = 1) -> np.ndarray:
    return (0.2 * np.random.default_rng(0).standard_normal((samples, channels))).astype(np.float32)


def piped(data: bytes, *arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["denoise", "-", *map(str, arguments)], input=data, prog_name="musicae")
    assert result.exit_code == code, f"{result.exit_code}: {result.output}"
    return result


# Bytes


def test_the_formats_are_these_and_the_command_offers_them() -> None:
    assert set(SAMPLE_FORMATS) == set(SUBTYPES) == set(pipe._SAMPLE_FORMATS)


@pytest.mark.parametrize("name", SUBTYPES)
def test_bytes_mean_what_other_programs_mean_by_them(name: str, tmp_path: Path) -> None:
    given = np.clip(sound(500, 2), -0.9, 0.9)
    raw = {"format": "RAW", "subtype": SUBTYPES[name], "endian": "LITTLE"}
    soundfile.write(tmp_path / "a.raw", given, 16_000, **raw)
    data = (tmp_path / "a.raw").read_bytes()

    expected = soundfile.read(
        tmp_path / "a.raw", dtype="float32", always_2d=True, samplerate=16_000, channels=2, **raw
    )[0]

    np.testing.assert_array_equal(decode_pcm(data, name, 2), expected)
    assert encode_pcm(decode_pcm(data, name, 2), name) == data


@pytest.mark.parametrize("name", ["u8", "s16le", "s24le", "s32le"])
def test_what_is_too_loud_is_clipped_and_does_not_wrap(name: str) -> None:
    loud = decode_pcm(encode_pcm(np.array([[1.5], [-1.5], [0.0]], np.float32), name), name, 1)
    np.testing.assert_allclose(loud[:, 0], [1.0, -1.0, 0.0], atol=0.01)


@pytest.mark.parametrize("name", SUBTYPES)
def test_a_pipe_that_cuts_anywhere_gives_whole_samples(name: str) -> None:
    data = encode_pcm(sound(200, 3), name)

    class Dripping(io.BytesIO):
        def read1(self, size: int = -1, /) -> bytes:
            return super().read1(7)

    blocks = list(read_pcm(Dripping(data + b"\x01"), name, 3))

    assert len(blocks) > 50
    np.testing.assert_array_equal(np.concatenate(blocks), decode_pcm(data, name, 3))


# The command


@pytest.mark.parametrize("name", SUBTYPES)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_pipe_gives_what_the_stream_gives_byte_for_byte(live: Path, name: str, channels: int) -> None:
    data = encode_pcm(sound(5_000, channels), name)
    expected = np.concatenate(list(load(live, "cpu").stream([decode_pcm(data, name, channels)])))

    options = [] if (name, channels) == ("s16le", 1) else ["--sample-format", name, "--channels", channels]
    result = piped(data, "--model", live, *options)

    assert result.stdout_bytes == encode_pcm(expected, name)
    assert len(result.stdout_bytes) == len(data)
    assert result.stderr == "16000 Hz, 32 ms behind at most\n"


def test_bytes_that_make_no_whole_sample_at_the_end_are_left_out(live: Path) -> None:
    data = encode_pcm(sound(1_000), "s16le")
    assert piped(data + b"\x01", "--model", live).stdout_bytes == piped(data, "--model", live).stdout_bytes
    assert piped(b"", "--model", live).stdout_bytes == b""
    assert piped(b"\x01", "--model", live).stdout_bytes == b""


def test_another_rate_and_restraint_reach_the_stream(live: Path) -> None:
    data = encode_pcm(sound(9_000), "s16le")
    result = piped(data, "--model", live, "--sample-rate", 48_000, "--strength", 0)
    assert result.stderr.startswith("48000 Hz, ")
    difference = decode_pcm(result.stdout_bytes, "s16le", 1) - decode_pcm(data, "s16le", 1)
    assert np.abs(difference).max() < 1e-3


def test_without_a_model_the_live_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(pipe, "load", lambda name: asked.append(name) or load("melody-2bar", "cpu"))
    result = piped(b"", code=2)
    assert asked == ["denoise-live-48k"]
    assert "trained to reconstruct, not to denoise" in result.stderr


def test_samples_that_are_no_numbers_are_refused_in_one_sentence(live: Path) -> None:
    data = np.array([0.5, np.nan], "<f4").tobytes()
    result = piped(data, "--model", live, "--sample-format", "f32le", code=2)
    assert result.stderr.splitlines()[-1].startswith("Error: the stream holds samples that are not finite")


def test_a_pipe_and_files_do_not_mix(live: Path) -> None:
    for arguments in (["other.wav"], ["--out", "clean.wav"]):
        assert "give no other file and no --out" in piped(b"", "--model", live, *arguments, code=2).stderr
    result = CliRunner().invoke(main, ["denoise", "a.wav", "--channels", "2"])
    assert result.exit_code == 2
    assert "belong to -" in result.stderr


def command(live: Path) -> list[str]:
    return [sys.executable, "-m", "musicae.cli", "denoise", "-", "--model", str(live)]


def test_a_pipe_answers_while_it_is_open_and_leaves_quietly_when_nobody_listens(live: Path) -> None:
    data = encode_pcm(sound(1_600), "s16le")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command(live), bufsize=0, **pipes) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdin.write(data)
        answer = b""
        while len(answer) < 2 * (1_600 - 511):
            answer += (read := process.stdout.read(65_536))
            assert read
        process.stdout.close()
        try:
            for _ in range(200):
                process.stdin.write(data)
        except BrokenPipeError:
            pass
        process.stdin.close()
        assert process.wait(60) == 1
        printed = process.stderr.read().decode()
    assert "Traceback" not in printed


def test_a_terminal_is_refused_at_either_end(live: Path) -> None:
    pty = pytest.importorskip("pty")
    inner, outer = pty.openpty()
    try:
        for ends in ({"stdin": outer, "stdout": subprocess.PIPE}, {"stdin": subprocess.DEVNULL, "stdout": outer}):
            result = subprocess.run(command(live), stderr=subprocess.PIPE, timeout=60, check=False, **ends)
            assert result.returncode == 2
            assert result.stderr.decode().startswith("Error: - takes raw samples from a pipe")
    finally:
        os.close(inner)
        os.close(outer)
