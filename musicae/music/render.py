"""Music to sound, with whatever this computer has: three synthesizers, tried in turn.

`midirenderer` and FluidSynth play the General MIDI sound font that pretty_midi brings; where neither works, a
small synthesizer of sines and noise does, drums included (pretty_midi's own is silent on drums). Nothing is
loaded before something is rendered. Nothing here knows models or settings.
"""

import wave
from collections.abc import Callable
from functools import cache, lru_cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from symusic.core import ControlChangeTick, ScoreTick

from musicae.audio.sound import Sound
from musicae.errors import MusicaeError

if TYPE_CHECKING:
    from musicae.music.piece import Piece

SAMPLE_RATE_HZ = 44_100
PEAK = 0.9
TAIL_S = 2.0
LONGEST_S = 2 * 3600.0
"""A broken delta time can make a piece last for years; what is longer is refused."""
LONGEST_PREVIEW_S = 300.0
"""Up to where results are rendered without being asked for; a piece at 4 quarters a minute takes half a minute else."""
_FADE_SAMPLES = 2_000
_RELEASE_S = 0.15
_SYNTH_PARTIALS = 6
_UNDEFINED_CONTROLLER = 3  # MIDI 1.0 leaves it without a meaning
_DEFAULT_MICROSECONDS = 500_000


class PlaysNotes(Protocol):
    """An instrument, such as that of a model of notes (`TrainedModel.instrument`)."""

    @property
    def sample_rate_hz(self) -> int:
        """Of the notes."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What people should know of the notes that were played so far."""

    def play_note(self, pitch: int, velocity: int) -> np.ndarray:
        """A note from its beginning, float32 `(samples,)`, at one loudness whatever its velocity 1 to 127."""


class HasInstrument(Protocol):
    """A model of single notes."""

    def instrument(self) -> PlaysNotes:
        """The first instrument that it knows."""


class _Playable(NamedTuple):
    """What a synthesizer is given.

    Attributes:
        score: notes, controls, bends and tempi, in ticks; its own copy.
        end_s: when the last note ends.
    """

    score: ScoreTick
    end_s: float


def render(
    piece: "Piece",
    *,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
    backend: str | None = None,
    instrument: PlaysNotes | HasInstrument | None = None,
    longest_s: float | None = None,
    later: bool = False,
) -> Sound:
    """Plays a piece.

    Args:
        piece: what to play.
        sample_rate_hz: of the sound wanted.
        backend: a name in `BACKENDS`; None takes the first that works here.
        instrument: plays all that has a pitch, in place of a backend; drums are the small synthesizer's.
        longest_s: of longer music only the beginning is played, and a remark says so; None: music longer than
            `LONGEST_S` is an error.
        later: whether it is played when somebody listens, and not at once.

    Returns:
        Mono, its peak at `PEAK`, with `TAIL_S` seconds for the last notes to die away; silence of that length
        for music without notes.

    Raises:
        MusicaeError: music longer than `LONGEST_S`.
        ValueError: a backend that is not in the table, or doesn't work here.
    """
    if backend is not None and backend not in BACKENDS:
        raise ValueError(f"expected a backend of {', '.join(BACKENDS)}, got {backend!r}")
    end_s = piece.duration_s
    if longest_s is None and end_s > LONGEST_S:
        raise MusicaeError(f"the music lasts {end_s / 3600:.0f} hours; up to {LONGEST_S / 3600:.0f} are rendered.")
    remarks = piece.remarks
    score = piece.score
    if longest_s is not None and end_s > longest_s:
        remarks += (f"{piece.name} lasts {in_minutes(end_s)}; the sound is of the first {in_minutes(longest_s)}",)
        score, end_s = score.clip(0, piece.tick_at(longest_s), clip_end=True), longest_s
    if not piece.note_count:
        return Sound(
            np.zeros(round(TAIL_S * sample_rate_hz), np.float32), sample_rate_hz, name=piece.name, remarks=remarks
        )
    music = _Playable(score.copy(), end_s)
    if instrument is None:
        played = cache(lambda: _played(music, sample_rate_hz, backend))
    else:
        player: Any = instrument if hasattr(instrument, "play_note") else instrument.instrument()
        played = cache(lambda: _finished(_play_with(player, music, sample_rate_hz), _frames(end_s, sample_rate_hz)))
    if not later:
        samples = played()
        remarks += () if instrument is None else player.remarks
        return Sound(samples, sample_rate_hz, name=piece.name, remarks=remarks)
    frames = _frames(end_s, sample_rate_hz)
    return Sound.from_blocks(lambda: [played()[:, None]], sample_rate_hz, 1, frames, name=piece.name, remarks=remarks)


def available_backends() -> list[str]:
    """Names of the synthesizers that work on this computer, the preferred one first."""
    from musicae.music.midi import NewTrack, Notes
    from musicae.music.piece import Piece

    note = Piece.new([NewTrack("", 0, False, Notes(*(np.array([value]) for value in (0, 48, 69, 100))))]).score
    return [name for name, play in BACKENDS.items() if play(_Playable(note.copy(), 0.05), 16_000) is not None]


def _played(music: _Playable, sample_rate_hz: int, backend: str | None) -> np.ndarray:
    for name in [backend] if backend is not None else BACKENDS:
        samples = BACKENDS[name](music, sample_rate_hz)
        if samples is not None:
            return _finished(samples, _frames(music.end_s, sample_rate_hz))
    raise ValueError(f"backend {backend!r} does not work on this computer; leave it out to use one that does")


def _frames(end_s: float, sample_rate_hz: int) -> int:
    return round((end_s + TAIL_S) * sample_rate_hz)


def in_minutes(duration_s: float) -> str:
    """A duration for people: "5 minutes", "40 seconds"."""
    return f"{duration_s / 60:.0f} minutes" if duration_s >= 90 else f"{duration_s:.0f} seconds"


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
    found = find_spec("pretty_midi")  # importing it takes longer than rendering
    if found is None or found.origin is None:
        raise MusicaeError("pretty_midi, whose sound font is played, is not installed; reinstall musicae.")
    return (Path(found.origin).parent / "TimGM6mb.sf2").read_bytes()


def _play_with_midirenderer(music: _Playable, sample_rate_hz: int) -> np.ndarray | None:
    try:
        from midirenderer import render_wave_from
    except ImportError:  # no wheel for this system
        return None
    import soxr

    score = music.score
    # The renderer stops at the last event; an event that does nothing holds it until the sound has died away.
    last = max(track.end() for track in score.tracks)
    tempi = [tempo.mspq for tempo in score.tempos if tempo.time <= last]  # rising in time
    held = next(track for track in score.tracks if len(track.notes))
    tail = round(TAIL_S * 1e6 / (tempi[-1] if tempi else _DEFAULT_MICROSECONDS) * score.tpq)
    held.controls.append(ControlChangeTick(last + tail, _UNDEFINED_CONTROLLER, 0))
    with wave.open(BytesIO(render_wave_from(_sound_font(), score.dumps_midi()))) as rendered:
        rate_hz, channels = rendered.getframerate(), rendered.getnchannels()
        frames = np.frombuffer(rendered.readframes(rendered.getnframes()), "<i2").reshape(-1, channels)
    samples = frames.mean(axis=1, dtype=np.float32) / 32_768
    resampled: np.ndarray = soxr.resample(samples, rate_hz, sample_rate_hz)
    return resampled


def _play_with_fluidsynth(music: _Playable, sample_rate_hz: int) -> np.ndarray | None:
    try:
        import fluidsynth  # noqa: F401  pretty_midi looks for it itself, and says ImportError only when playing
    except (ImportError, OSError):  # the binding, or the library behind it, isn't installed
        return None
    from musicae.music.piece import Piece

    piece = Piece.open(music.score)
    samples: np.ndarray = piece.to_pretty_midi().fluidsynth(fs=sample_rate_hz, normalize=False)
    return samples


def _play_with_sines(music: _Playable, sample_rate_hz: int) -> np.ndarray | None:
    """Six decaying partials for a note, noise and a falling sine for drums."""

    def tone(pitch: int, velocity: int, duration_s: float) -> np.ndarray:
        del velocity
        return _tone(440.0 * 2 ** ((pitch - 69) / 12), duration_s, sample_rate_hz)

    return _mixed(music, sample_rate_hz, tone)


def _play_with(instrument: PlaysNotes, music: _Playable, sample_rate_hz: int) -> np.ndarray:
    """Every note by an instrument, damped when it ends."""
    import soxr

    whole: dict[tuple[int, int], np.ndarray] = {}

    def tone(pitch: int, velocity: int, duration_s: float) -> np.ndarray:
        if (pitch, velocity) not in whole:
            samples = instrument.play_note(pitch, velocity)
            whole[pitch, velocity] = soxr.resample(samples, instrument.sample_rate_hz, sample_rate_hz)
        samples = whole[pitch, velocity]
        fade = round(_RELEASE_S * sample_rate_hz)
        samples = samples[: round(duration_s * sample_rate_hz) + fade].copy()
        size = min(fade, len(samples))
        samples[len(samples) - size :] *= np.linspace(1, 0, size, dtype=np.float32)
        return samples

    return _mixed(music, sample_rate_hz, tone)


def _mixed(music: _Playable, sample_rate_hz: int, tone: Callable[[int, int, float], np.ndarray]) -> np.ndarray:
    """Notes by a function of pitch, velocity and duration in seconds, and drums made of noise and a falling sine."""
    total = np.zeros(round((music.end_s + TAIL_S) * sample_rate_hz) + 1, np.float32)
    noise = np.random.default_rng(0).standard_normal(sample_rate_hz).astype(np.float32)
    in_seconds: Any = music.score.to("second")  # the stub says object
    for track in in_seconds.tracks:
        for note in track.notes:
            if track.is_drum:
                sound = _drum(note.pitch, sample_rate_hz, noise)
            else:
                sound = tone(note.pitch, note.velocity, note.duration)
            start = round(note.time * sample_rate_hz)
            sound = sound[: max(0, len(total) - start)] * (note.velocity / 127) ** 1.5
            total[start : start + len(sound)] += sound
    return total


def _tone(frequency_hz: float, duration_s: float, sample_rate_hz: int) -> np.ndarray:
    """A plucked tone that is damped when the note ends, float32 `(samples,)`."""
    # Nothing is left of the longest partial after six seconds.
    time_s = np.arange(round(min(duration_s + _RELEASE_S, 6.0) * sample_rate_hz), dtype=np.float32) / sample_rate_hz
    tone = np.zeros_like(time_s)
    for partial in range(1, _SYNTH_PARTIALS + 1):
        if frequency_hz * partial < 0.45 * sample_rate_hz:
            strength = np.exp(-1.2 * partial * time_s) / partial**1.5
            tone += strength * np.sin(2 * np.pi * frequency_hz * partial * time_s, dtype=np.float32)
    attack = np.minimum(time_s / 0.004, 1.0)
    release = np.clip((duration_s + _RELEASE_S - time_s) / _RELEASE_S, 0.0, 1.0)
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


BACKENDS: dict[str, Callable[[_Playable, int], np.ndarray | None]] = {
    "midirenderer": _play_with_midirenderer,
    "fluidsynth": _play_with_fluidsynth,
    "sines": _play_with_sines,
}
"""Name → player: takes music it may change and a rate in Hz; gives samples, or None where it can't work."""
