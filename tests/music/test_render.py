"""Rendered music has the right pitch and loudness, on every synthesizer that works here."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pretty_midi
import pytest

from musicae.audio.files import read_sound
from musicae.errors import DamagedFileError, MusicaeError
from musicae.music.render import BACKENDS, PEAK, TAIL_S, available_backends, render_file, render_midi, write_wav

AVAILABLE = available_backends()
each_backend = pytest.mark.parametrize("backend", AVAILABLE)
KICK, SNARE, HAT = 36, 38, 42


def music(*notes: tuple[int, int, float, float], program: int = 0, is_drum: bool = False) -> pretty_midi.PrettyMIDI:
    """Notes are (velocity, pitch, start in s, end in s)."""
    midi = pretty_midi.PrettyMIDI()
    midi.instruments.append(pretty_midi.Instrument(program, is_drum=is_drum))
    midi.instruments[0].notes.extend(pretty_midi.Note(*note) for note in notes)
    return midi


def level(samples: np.ndarray) -> float:
    return float(np.sqrt((samples**2).mean()))


def test_the_small_synthesizer_always_works() -> None:
    assert AVAILABLE[-1] == "sines"
    assert set(AVAILABLE) <= set(BACKENDS)


@each_backend
@pytest.mark.parametrize("program", [0, 24, 40])  # the font's own flute is 12 cents sharp
def test_a4_sounds_at_440_hz(backend: str, program: int) -> None:
    samples = render_midi(music((100, 69, 0.0, 2.0), program=program), backend=backend)

    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    frequency_hz = np.fft.rfftfreq(len(samples), 1 / 44_100)
    near = (frequency_hz > 330) & (frequency_hz < 550)  # overtones may be louder than the note's own pitch
    assert frequency_hz[near][spectrum[near].argmax()] == pytest.approx(440, abs=3)


@each_backend
def test_higher_velocity_is_louder(backend: str) -> None:
    samples = render_midi(music((40, 60, 0.0, 0.5), (110, 60, 3.0, 3.5)), backend=backend)

    assert level(samples[3 * 44_100 : 4 * 44_100]) > 1.5 * level(samples[:44_100])


@each_backend
@pytest.mark.parametrize("drum", [KICK, SNARE, HAT, 46, 45, 50, 49, 51])
def test_every_drum_is_heard(backend: str, drum: int) -> None:
    samples = render_midi(
        music(*((100, drum, 0.25 * n, 0.25 * n + 0.1) for n in range(8)), is_drum=True), backend=backend
    )

    assert level(samples[: 2 * 44_100]) > 0.01


@each_backend
def test_kick_is_lower_than_hat(backend: str) -> None:
    def brightness_hz(drum: int) -> float:
        samples = render_midi(music((100, drum, 0.0, 0.2), is_drum=True), backend=backend)
        power = np.abs(np.fft.rfft(samples)) ** 2
        return float((power * np.fft.rfftfreq(len(samples), 1 / 44_100)).sum() / power.sum())

    assert brightness_hz(KICK) < 500 < 3_000 < brightness_hz(HAT)


@each_backend
@pytest.mark.parametrize("sample_rate_hz", [16_000, 44_100])
def test_length_level_and_kind_are_as_promised(backend: str, sample_rate_hz: int) -> None:
    midi = music((80, 60, 0.0, 1.0), (80, 64, 1.0, 3.0))

    samples = render_midi(midi, sample_rate_hz=sample_rate_hz, backend=backend)

    assert samples.dtype == np.float32
    assert samples.shape == (round((3.0 + TAIL_S) * sample_rate_hz),)
    assert np.abs(samples).max() == pytest.approx(PEAK, abs=1e-3)
    assert level(samples) > 0.01
    assert np.abs(samples[-10:]).max() < 0.01


@each_backend
def test_music_is_not_changed_by_rendering(backend: str) -> None:
    midi = music((80, 60, 0.0, 1.0))

    render_midi(midi, backend=backend)

    assert midi.get_end_time() == 1.0
    assert midi.instruments[0].control_changes == []


@pytest.mark.parametrize("midi", [pretty_midi.PrettyMIDI(), music()])
def test_music_without_notes_is_silence(midi: pretty_midi.PrettyMIDI) -> None:
    samples = render_midi(midi)

    assert len(samples) > 0
    assert not samples.any()


def test_a_file_without_notes_is_refused(tmp_path: Path) -> None:
    music().write(str(tmp_path / "none.mid"))

    with pytest.raises(MusicaeError, match=r"none\.mid has no notes"):
        render_file(tmp_path / "none.mid", tmp_path / "none.wav")
    assert not (tmp_path / "none.wav").exists()


def test_a_path_sounds_like_the_object(tmp_path: Path) -> None:
    midi = music((80, 60, 0.0, 1.0))
    midi.write(str(tmp_path / "a.mid"))

    assert np.allclose(render_midi(tmp_path / "a.mid"), render_midi(midi), atol=1e-3)


def test_files_that_are_not_midi_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.mid").write_text("not music")
    (tmp_path / "empty.mid").write_bytes(b"")

    for name in ("text.mid", "empty.mid"):
        with pytest.raises(DamagedFileError, match=name):
            render_file(tmp_path / name, tmp_path / "a.wav")
    with pytest.raises(MusicaeError, match="does not exist"):
        render_file(tmp_path / "gone.mid", tmp_path / "a.wav")
    assert not (tmp_path / "a.wav").exists()


def test_abc_is_rendered_too(tmp_path: Path) -> None:
    (tmp_path / "a.abc").write_text("X:1\nT:Test\nM:4/4\nL:1/4\nQ:1/4=120\nK:C\nA A A A|A4|]\n")

    target = render_file(tmp_path / "a.abc", tmp_path / "a.wav", sample_rate_hz=16_000)

    assert level(read_sound(target)[0]) > 0.01


def test_broken_midi_is_rendered_or_refused_soon(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    files = sorted(path for path in shared_data("malformed_midi").rglob("*") if path.suffix == ".mid")
    assert len(files) >= 30
    rendered = 0
    for path in files:
        began = time.perf_counter()
        try:
            samples = render_midi(path, sample_rate_hz=16_000)
        except MusicaeError as error:
            assert "\n" not in str(error)
        else:
            assert np.isfinite(samples).all()
            rendered += 1
        assert time.perf_counter() - began < 20, path.name
    assert rendered > 5


def test_music_of_a_year_is_refused() -> None:
    with pytest.raises(MusicaeError, match="hours"):
        render_midi(music((80, 60, 0.0, 3e7)))


def test_an_unknown_backend_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="midirenderer, fluidsynth, sines"):
        render_midi(music((80, 60, 0.0, 1.0)), backend="piano")


def test_a_minute_of_music_takes_seconds() -> None:
    midi = music(*((80, 60 + n % 12, 0.25 * n, 0.25 * n + 0.25) for n in range(240)))
    render_midi(music((80, 60, 0.0, 0.1)))  # the sound font is read once

    began = time.perf_counter()
    render_midi(midi)

    # Takes half a second on one idle core; the margin is for machines that do other work too.
    assert time.perf_counter() - began < 10


def test_the_wav_is_what_was_rendered(tmp_path: Path) -> None:
    samples = render_midi(music((80, 60, 0.0, 0.5)))

    write_wav(samples, tmp_path / "a.wav", 44_100)

    again, rate_hz = read_sound(tmp_path / "a.wav")
    assert rate_hz == 44_100
    assert np.abs(again[:, 0] - samples).max() < 1e-4
