"""MIDI to sound, with whatever this computer has: three synthesizers, tried in turn.

`midirenderer` and FluidSynth play the General MIDI sound font that pretty_midi brings; where neither works, a
small synthesizer of sines and noise does, drums included (pretty_midi's own is silent on drums). Nothing is
loaded before something is rendered. Nothing here knows models or settings.
"""

from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pretty_midi

from musicae.audio.files import resample, write_sound
from musicae.errors import MusicaeError

if TYPE_CHECKING:
    from symusic.core import ScoreTick

SAMPLE_RATE_HZ = 44_100
PEAK = 0.9
TAIL_S = 2.0
# A broken delta time can make a file last for years.
LONGEST_S = 2 * 3600.0
_FADE_SAMPLES = 2_000
_TICKS_PER_QUARTER = 480
_SYNTH_PARTIALS = 6


def render_midi(
    midi: pretty_midi.PrettyMIDI | Path, *, sample_rate_hz: int = SAMPLE_RATE_HZ, backend: str | None = None
) -> np.ndarray:
    """Plays a MIDI file or object.

    Args:
        midi: what to play, an object (it is not changed) or the path of a MIDI or ABC file.
        sample_rate_hz: of the sound wanted.
        backend: a name in `BACKENDS`; None takes the first that works here.

    Returns:
        float32 `(samples,)`, mono, its peak at `PEAK`, with up to `TAIL_S` seconds for the last notes to
        die away; silence of that length for music without notes.

    Raises:
        DamagedFileError: a path that is not what its name says.
        MusicaeError: music longer than `LONGEST_S`.
        ValueError: a backend that is not in the table, or doesn't work here.
    """
    music = _read_music(midi) if isinstance(midi, Path) else _playable_copy(midi)
    end_s = music.get_end_time()
    if end_s > LONGEST_S:
        raise MusicaeError(f"the music lasts {end_s / 3600:.0f} hours; up to {LONGEST_S / 3600:.0f} are rendered.")
    if not _has_notes(music):
        return np.zeros(round(TAIL_S * sample_rate_hz), np.float32)
    if backend is not None and backend not in BACKENDS:
        raise ValueError(f"expected a backend of {', '.join(BACKENDS)}, got {backend!r}")
    for name in [backend] if backend is not None else BACKENDS:
        samples = BACKENDS[name](music, sample_rate_hz)
        if samples is not None:
            return _finished(samples, round((end_s + TAIL_S) * sample_rate_hz))
    raise ValueError(f"backend {backend!r} does not work on this computer; leave it out to use one that does")


def render_file(path: Path, target: Path, *, sample_rate_hz: int = SAMPLE_RATE_HZ) -> Path:
    """Plays a MIDI or ABC file (its first tune) into a WAV.

    Args:
        path: what to play.
        target: the .wav to write; nothing is left there on failure.
        sample_rate_hz: of the WAV.

    Returns:
        `target`.

    Raises:
        MusicaeError: a file without notes; else as `render_midi`.
    """
    music = _read_music(path)
    if not _has_notes(music):
        raise MusicaeError(f"{path.name} has no notes; choose another file.")
    write_wav(render_midi(music, sample_rate_hz=sample_rate_hz), target, sample_rate_hz)
    return target


def write_wav(samples: np.ndarray, path: Path, sample_rate_hz: int) -> None:
    """Writes float samples in [-1, 1], `(samples,)`, as a 16-bit WAV."""
    write_sound(samples, path, sample_rate_hz)


def available_backends() -> list[str]:
    """Names of the synthesizers that work on this computer, the preferred one first."""
    note = pretty_midi.PrettyMIDI()
    note.instruments.append(pretty_midi.Instrument(0))
    note.instruments[0].notes.append(pretty_midi.Note(100, 69, 0.0, 0.1))
    return [name for name, play in BACKENDS.items() if play(_playable_copy(note), 16_000) is not None]


def _read_music(path: Path) -> pretty_midi.PrettyMIDI:
    """Reads a file with the reader that doubts everything; of several tunes the first."""
    from musicae.music.reading import read_scores

    return playable_score(read_scores(path)[0].score)


def playable_score(score: "ScoreTick") -> pretty_midi.PrettyMIDI:
    """Takes what is heard of a checked score: notes, controls and bends, in seconds."""
    music = _empty_music()
    in_seconds: Any = score.to("second")  # the stub says object
    for track in in_seconds.tracks:
        part = pretty_midi.Instrument(track.program, is_drum=track.is_drum)
        part.notes = [
            pretty_midi.Note(note.velocity, note.pitch, note.time, note.time + note.duration) for note in track.notes
        ]
        part.control_changes = [
            pretty_midi.ControlChange(change.number, change.value, change.time) for change in track.controls
        ]
        part.pitch_bends = [pretty_midi.PitchBend(bend.value, bend.time) for bend in track.pitch_bends]
        music.instruments.append(part)
    return music


def _has_notes(music: pretty_midi.PrettyMIDI) -> bool:
    return any(instrument.notes for instrument in music.instruments)


def _playable_copy(midi: pretty_midi.PrettyMIDI) -> pretty_midi.PrettyMIDI:
    """A copy without names, lyrics and signatures: they aren't heard, and some can't be written."""
    music = _empty_music()
    for instrument in midi.instruments:
        part = pretty_midi.Instrument(instrument.program, is_drum=instrument.is_drum)
        part.notes = list(instrument.notes)
        part.control_changes = list(instrument.control_changes)
        part.pitch_bends = list(instrument.pitch_bends)
        music.instruments.append(part)
    return music


def _empty_music() -> pretty_midi.PrettyMIDI:
    return pretty_midi.PrettyMIDI(resolution=_TICKS_PER_QUARTER, initial_tempo=120.0)  # a tick is about 1 ms


def _finished(samples: np.ndarray, length: int) -> np.ndarray:
    """Brings the peak to `PEAK` and cuts or pads to a length, fading what is cut."""
    samples = np.pad(samples[:length], (0, max(0, length - len(samples)))).astype(np.float32)
    fade = min(len(samples), _FADE_SAMPLES)
    samples[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    peak = float(np.abs(samples).max(initial=0.0))
    finished: np.ndarray = samples * (PEAK / peak if peak > 0 else 0.0)
    return finished


@lru_cache(maxsize=1)
def _sound_font() -> bytes:
    """pretty_midi's own General MIDI font; referenced where it lies, as its licence (GPL-2) is not ours."""
    return (Path(pretty_midi.__file__).parent / "TimGM6mb.sf2").read_bytes()


def _play_with_midirenderer(midi: pretty_midi.PrettyMIDI, sample_rate_hz: int) -> np.ndarray | None:
    try:
        from midirenderer import render_wave_from
    except ImportError:  # no wheel for this system
        return None
    import soundfile

    # The renderer stops at the last event; an event that does nothing holds it until the sound has died away.
    held = next(instrument for instrument in midi.instruments if instrument.notes)
    held.control_changes.append(pretty_midi.ControlChange(_UNDEFINED_CONTROLLER, 0, midi.get_end_time() + TAIL_S))
    data = BytesIO()
    midi.write(data)
    samples, rendered_hz = soundfile.read(BytesIO(render_wave_from(_sound_font(), data.getvalue())), dtype="float32")
    return resample(samples.mean(axis=1), rendered_hz, sample_rate_hz)


_UNDEFINED_CONTROLLER = 3  # MIDI 1.0 leaves it without a meaning


def _play_with_fluidsynth(midi: pretty_midi.PrettyMIDI, sample_rate_hz: int) -> np.ndarray | None:
    try:
        import fluidsynth  # noqa: F401  pretty_midi looks for it itself, and says ImportError only when playing
    except (ImportError, OSError):  # the binding, or the library behind it, isn't installed
        return None
    samples: np.ndarray = midi.fluidsynth(fs=sample_rate_hz, normalize=False)
    return samples


def _play_with_sines(midi: pretty_midi.PrettyMIDI, sample_rate_hz: int) -> np.ndarray | None:
    """Six decaying partials for a note, noise and a falling sine for drums."""
    total = np.zeros(round((midi.get_end_time() + TAIL_S) * sample_rate_hz) + 1, np.float32)
    noise = np.random.default_rng(0).standard_normal(sample_rate_hz).astype(np.float32)
    for instrument in midi.instruments:
        for note in instrument.notes:
            if instrument.is_drum:
                sound = _drum(note.pitch, sample_rate_hz, noise)
            else:
                sound = _tone(pretty_midi.note_number_to_hz(note.pitch), note.end - note.start, sample_rate_hz)
            start = round(note.start * sample_rate_hz)
            sound = sound[: len(total) - start] * (note.velocity / 127) ** 1.5
            total[start : start + len(sound)] += sound
    return total


def _tone(frequency_hz: float, duration_s: float, sample_rate_hz: int) -> np.ndarray:
    """A plucked tone that is damped when the note ends, float32 `(samples,)`."""
    release_s = 0.15
    # Nothing is left of the longest partial after six seconds.
    time_s = np.arange(round(min(duration_s + release_s, 6.0) * sample_rate_hz), dtype=np.float32) / sample_rate_hz
    tone = np.zeros_like(time_s)
    for partial in range(1, _SYNTH_PARTIALS + 1):
        if frequency_hz * partial < 0.45 * sample_rate_hz:
            strength = np.exp(-1.2 * partial * time_s) / partial**1.5
            tone += strength * np.sin(2 * np.pi * frequency_hz * partial * time_s, dtype=np.float32)
    attack = np.minimum(time_s / 0.004, 1.0)
    release = np.clip((duration_s + release_s - time_s) / release_s, 0.0, 1.0)
    sound: np.ndarray = 0.3 * tone * attack * release
    return sound


def _drum(pitch: int, sample_rate_hz: int, noise: np.ndarray) -> np.ndarray:
    """A drum of General MIDI percussion, float32 `(samples,)`."""
    # Pitch of the skin and of its fall, share of noise, decay: kick, snare, hats and cymbals, toms.
    if pitch in (35, 36):
        low_hz, drop_hz, noise_share, decay_s = 48.0, 110.0, 0.05, 0.12
    elif pitch in (37, 38, 39, 40):
        low_hz, drop_hz, noise_share, decay_s = 180.0, 60.0, 0.7, 0.09
    elif pitch in (42, 44, 54, 69, 70):
        low_hz, drop_hz, noise_share, decay_s = 0.0, 0.0, 0.5, 0.03
    elif pitch in (46, 49, 51, 52, 53, 55, 57, 59):
        low_hz, drop_hz, noise_share, decay_s = 0.0, 0.0, 0.5, 0.3
    else:
        low_hz, drop_hz, noise_share, decay_s = 60.0 + 3 * (pitch - 40), 50.0, 0.1, 0.15
    time_s = np.arange(round(6 * decay_s * sample_rate_hz), dtype=np.float32) / sample_rate_hz
    hiss = np.resize(noise, len(time_s))
    if low_hz == 0:
        hiss = np.diff(hiss, prepend=0.0)  # metal has no lows
    phase = 2 * np.pi * (low_hz * time_s - drop_hz * 0.03 * np.exp(-time_s / 0.03))
    skin = np.sin(phase) * (1 - noise_share) if low_hz else 0.0
    sound: np.ndarray = (0.5 * np.exp(-time_s / decay_s) * (skin + noise_share * hiss)).astype(np.float32)
    return sound


BACKENDS: dict[str, Callable[[pretty_midi.PrettyMIDI, int], np.ndarray | None]] = {
    "midirenderer": _play_with_midirenderer,
    "fluidsynth": _play_with_fluidsynth,
    "sines": _play_with_sines,
}
"""Name → player: takes music it may change and a rate in Hz; gives samples, or None where it can't work."""
