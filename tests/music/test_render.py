"""Rendered music has the right pitch and loudness, on every synthesizer that works here."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pretty_midi
import pytest

from musicae.audio.sound import Sound
from musicae.errors import MusicaeError
from musicae.music.midi import NewTrack, Notes
from musicae.music.piece import Piece
from musicae.music.render import BACKENDS, PEAK, TAIL_S, available_backends

AVAILABLE = available_backends()
each_backend = pytest.mark.parametrize("backend", AVAILABLE)
KICK, SNARE, HAT = 36, 38, 42


def music(*notes: tuple[int, int, float, float], program: int = 0, is_drum: bool = False) -> Piece:
    """Notes are (velocity, pitch, start in s, end in s), a second in 960 ticks."""
    velocity, pitch, start, end = np.array(notes, np.float64).reshape(-1, 4).T
    columns = Notes(*(np.rint(column).astype(np.int64) for column in (960 * start, 960 * end, pitch, velocity)))
    return Piece.new([NewTrack("", program, is_drum, columns)])


def samples_of(piece: Piece, sample_rate_hz: int = 44_100, **how: object) -> np.ndarray:
    sound = piece.render(sample_rate_hz, **how)
    assert sound.sample_rate_hz == sample_rate_hz and sound.channels == 1
    return sound.samples


def level(samples: np.ndarray) -> float:
    return float(np.sqrt((samples**2).mean()))


def test_the_small_synthesizer_always_works() -> None:
    assert AVAILABLE[-1] == "sines"
    assert set(AVAILABLE) <= set(BACKENDS)


@each_backend
@pytest.mark.parametrize("program", [0, 24, 40])  # the font's own flute is 12 cents sharp
def test_a4_sounds_at_440_hz(backend: str, program: int) -> None:
    samples = samples_of(music((100, 69, 0.0, 2.0), program=program), backend=backend)

    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    frequency_hz = np.fft.rfftfreq(len(samples), 1 / 44_100)
    near = (frequency_hz > 330) & (frequency_hz < 550)  # overtones may be louder than the note's own pitch
    assert frequency_hz[near][spectrum[near].argmax()] == pytest.approx(440, abs=3)


@each_backend
def test_higher_velocity_is_louder(backend: str) -> None:
    samples = samples_of(music((40, 60, 0.0, 0.5), (110, 60, 3.0, 3.5)), backend=backend)

    assert level(samples[3 * 44_100 : 4 * 44_100]) > 1.5 * level(samples[:44_100])


@each_backend
@pytest.mark.parametrize("drum", [KICK, SNARE, HAT, 46, 45, 50, 49, 51])
def test_every_drum_is_audible(backend: str, drum: int) -> None:
    samples = samples_of(
        music(*((100, drum, 0.25 * n, 0.25 * n + 0.1) for n in range(8)), is_drum=True), backend=backend
    )

    assert level(samples[: 2 * 44_100]) > 0.01


@each_backend
def test_kick_is_lower_than_hat(backend: str) -> None:
    def brightness_hz(drum: int) -> float:
        samples = samples_of(music((100, drum, 0.0, 0.2), is_drum=True), backend=backend)
        power = np.abs(np.fft.rfft(samples)) ** 2
        return float((power * np.fft.rfftfreq(len(samples), 1 / 44_100)).sum() / power.sum())

    assert brightness_hz(KICK) < 500 < 3_000 < brightness_hz(HAT)


@each_backend
@pytest.mark.parametrize("sample_rate_hz", [16_000, 44_100])
def test_length_level_and_type_are_as_promised(backend: str, sample_rate_hz: int) -> None:
    piece = music((80, 60, 0.0, 1.0), (80, 64, 1.0, 3.0))

    samples = samples_of(piece, sample_rate_hz, backend=backend)

    assert samples.dtype == np.float32
    assert samples.shape == (round((3.0 + TAIL_S) * sample_rate_hz),)
    assert np.abs(samples).max() == pytest.approx(PEAK, abs=1e-3)
    assert level(samples) > 0.01
    assert np.abs(samples[-10:]).max() < 0.01


@each_backend
def test_music_is_not_changed_by_rendering(backend: str) -> None:
    piece = music((80, 60, 0.0, 1.0))
    before = piece.to_bytes(), piece.score.dumps_midi()

    samples_of(piece, backend=backend)

    assert (piece.to_bytes(), piece.score.dumps_midi()) == before


@pytest.mark.parametrize("piece", [Piece.new([]), music()], ids=["no track", "no note"])
def test_music_without_notes_is_silence(piece: Piece) -> None:
    samples = samples_of(piece)

    assert len(samples) > 0
    assert not samples.any()


def test_controllers_and_bends_of_a_file_are_played() -> None:
    midi = pretty_midi.PrettyMIDI()
    midi.instruments.append(pretty_midi.Instrument(40))
    midi.instruments[0].notes.append(pretty_midi.Note(100, 69, 0.0, 2.0))
    plain = samples_of(Piece.open(midi), backend=AVAILABLE[0])
    midi.instruments[0].control_changes.append(pretty_midi.ControlChange(7, 0, 1.0))
    faded = samples_of(Piece.open(midi), backend=AVAILABLE[0])

    if AVAILABLE[0] == "sines":
        pytest.skip("the small synthesizer plays notes alone")
    second = slice(44_100 + 22_050, 2 * 44_100)
    assert level(faded[second]) < 0.1 * level(plain[second])


def test_a_path_is_played_like_the_piece(tmp_path: Path) -> None:
    piece = music((80, 60, 0.0, 1.0))
    path = piece.save(tmp_path / "a.mid")

    assert np.array_equal(samples_of(Piece.open(path)), samples_of(piece))


def test_abc_is_rendered_too(tmp_path: Path) -> None:
    (tmp_path / "a.abc").write_text("X:1\nT:Test\nM:4/4\nL:1/4\nQ:1/4=120\nK:C\nA A A A|A4|]\n")

    assert level(samples_of(Piece.open(tmp_path / "a.abc"), 16_000)) > 0.01


def test_broken_midi_is_rendered_or_refused_soon(shared_data: Callable[[str], Path]) -> None:
    files = sorted(path for path in shared_data("malformed_midi").rglob("*") if path.suffix == ".mid")
    assert len(files) >= 30
    rendered = 0
    for path in files:
        began = time.perf_counter()
        try:
            samples = samples_of(Piece.open(path), 16_000)
        except MusicaeError as error:
            assert "\n" not in str(error)
        else:
            assert np.isfinite(samples).all()
            rendered += 1
        assert time.perf_counter() - began < 20, path.name
    assert rendered > 5


def test_music_of_a_year_is_refused() -> None:
    piece = music((80, 60, 0.0, 1.0), (80, 60, 8e3, 8e3 + 1))
    with pytest.raises(MusicaeError, match="lasts 2 hours; up to 2 are rendered"):
        piece.render()


def test_of_slow_music_the_beginning_is_played_where_a_limit_is_given() -> None:
    notes = Notes(*(np.array(column) for column in ([0, 480, 960], [480, 960, 1440], [60, 62, 64], [90, 90, 90])))
    piece = Piece.new([NewTrack("slow", 0, False, notes)], tempi=((0, 3.6),), name="slow")  # a note in 16.7 s
    sound = piece.render(16_000, longest_s=20.0)

    assert sound.duration_s == pytest.approx(20 + TAIL_S, abs=0.01)
    assert sound.remarks == ("slow lasts 50 seconds; the sound is of the first 20 seconds",)
    assert level(sound.samples[: 16_000 * 2]) > 0.01
    assert piece.render(16_000, longest_s=60.0).remarks == ()


def test_an_unknown_backend_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="midirenderer, fluidsynth, sines"):
        samples_of(music((80, 60, 0.0, 1.0)), backend="piano")


def test_a_minute_of_music_takes_seconds() -> None:
    piece = music(*((80, 60 + n % 12, 0.25 * n, 0.25 * n + 0.25) for n in range(240)))
    samples_of(music((80, 60, 0.0, 0.1)))  # the sound font is read once

    began = time.perf_counter()
    samples_of(piece)

    # Takes half a second on one idle core; the margin is for machines that do other work too.
    assert time.perf_counter() - began < 10


def test_the_wav_is_what_was_rendered(tmp_path: Path) -> None:
    piece = music((80, 60, 0.0, 0.5))

    again = Sound.open(piece.save(tmp_path / "a.wav"))

    assert again.sample_rate_hz == 44_100
    assert np.abs(again.samples - samples_of(piece)).max() < 1e-4


def test_a_sound_that_is_rendered_later_is_the_same() -> None:
    from musicae.music.render import render

    piece = music((80, 60, 0.0, 0.5), program=24)
    later = render(piece, sample_rate_hz=16_000, later=True)
    assert later.frames == len(later.samples)
    assert np.array_equal(later.samples, samples_of(piece, 16_000))
