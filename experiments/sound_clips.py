"""Clips over the whole band, at 48 kHz, in which denoisers are compared with others; none of them was trained on.

`validation` is for choosing: a Gaelic speaker and spoken digits of held-out people, tunes of held-out instruments, in
helicopters, fires and noises kept for validation. `outside` is measured once, at the end: volunteers' voices in seven
languages and music in noises of cafés, streets, machines and animals, of sets that nobody trained or chose on. Its
music is real recordings, tunes played by recorded instruments that were held out, and tunes rendered with two sound
fonts that no training has (Debian's `opl3-soundfont`, and `freepats` through `timidity`). Everything is drawn with a
seed.
"""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import audio_sets
import numpy as np
import pretty_midi
import soundfile
from sounds import read_mono, sound_files

from musicae.audio.noise_recordings import noise_files, split_of_noise, without_silence
from musicae.audio.sound import Sound
from musicae.errors import DamagedFileError

RATE_HZ = 48_000
LONGEST_S = 6.0
FREEPATS = Path("/etc/timidity/freepats.cfg")
FONT = Path("/usr/share/sounds/sf2/OPL-3_FM_128M.sf2")
_RENDERED, _PLAYED = 12, 12
_REAL_MUSIC = ("Hungarian", "Lets_Go_Fishin", "Sugar_Plum", "Vibe_Ace", "trumpet")
_TUNES = "airds_airs"  # of which no sound was ever made to learn from or to choose by
_HELD_OUT_INSTRUMENTS = ("electric_piano44k", "cello44k", "alto_sax44k")
_PROGRAMS = (0, 6, 11, 19, 24, 33, 48, 52, 56, 61, 68, 73, 75, 80)


@dataclass(frozen=True)
class Clip:
    """A clean sound and noise for it.

    Attributes:
        group: such as "speech, ml" or "music, real".
        noise_kind: the family of the noise's file.
        name: of the file that the sound is from.
        clean: float32 `(samples,)` at `RATE_HZ`.
        noise: as long, at any level.
    """

    group: str
    noise_kind: str
    name: str
    clean: np.ndarray
    noise: np.ndarray

    @property
    def is_speech(self) -> bool:
        """Whether measures of speech mean anything."""
        return self.group.startswith("speech")

    def noisy(self, snr_db: float) -> np.ndarray:
        """The mixture at a signal-to-noise ratio over the whole clip."""
        gain = np.sqrt(np.mean(self.clean**2) / np.mean(self.noise**2) / 10 ** (snr_db / 10))
        mixed: np.ndarray = (self.clean + gain * self.noise).astype(np.float32)
        return mixed


def clips(sets: Path, split: str) -> list[Clip]:
    """The clips of `validation` or `outside`."""
    rng = np.random.default_rng(17)
    noises = _noises(sets, split)
    kinds = sorted(noises)
    found = []
    for group, name, whole in sounds(sets, split):
        clean = whole[: round(LONGEST_S * RATE_HZ)]
        if len(clean) < RATE_HZ or np.sqrt(np.mean(clean**2)) < 1e-3:
            continue
        kind = kinds[int(rng.integers(len(kinds)))]
        noise = noises[kind][int(rng.integers(len(noises[kind])))]
        cut = np.roll(np.resize(noise, len(clean)), int(rng.integers(len(clean))))
        found.append(Clip(group, kind, name, clean, cut))
    return found


def _noises(sets: Path, split: str) -> dict[str, list[np.ndarray]]:
    """Family → recordings without their silent parts."""
    if split == "outside":
        files = sound_files(sets / "noise44k_measure")
    else:
        places = [sets / place for place in ("sound/noise_test", "noise44k", "sound/free_noise", "sound/free_bustle")]
        files = [
            path for path in noise_files(places) if split_of_noise(path) == "validation" or "noise_test" in str(path)
        ]
    found: dict[str, list[np.ndarray]] = {}
    for path in files:
        noise = without_silence(read_mono(path, RATE_HZ), RATE_HZ)
        if len(noise) > RATE_HZ:
            found.setdefault(path.stem.split("-")[0], []).append(noise)
    return found


def sounds(sets: Path, split: str) -> Iterator[tuple[str, str, np.ndarray]]:
    """Group, name and samples."""
    if split == "validation":
        for path in sound_files(sets / "speech48k" / "gcompris-gd")[::4][:24]:
            yield "speech, Gaelic", path.name, _read(path)
        for path in sound_files(sets / "sound/digits_test")[:8]:
            yield "speech, digits", path.name, _read(path)
        for path in sound_files(sets / "sound/music_test"):
            if not any(name in path.name for name in _HELD_OUT_INSTRUMENTS):
                yield "music, rendered", path.name, _read(path)
        return
    for path in sound_files(sets / "speech44k_measure"):
        yield f"speech, {path.relative_to(sets / 'speech44k_measure').parts[0]}", path.name, _read(path)
    for path in sorted((sets / "music_real").glob("*.ogg")):
        if any(name in path.name for name in _REAL_MUSIC):
            whole = _read(path)
            for part in (1, 3, 5, 7) if len(whole) > 4 * LONGEST_S * RATE_HZ else (0,):
                yield "music, real", path.name, whole[len(whole) * part // 8 :]
    yield from tunes(sets)


def _read(path: Path) -> np.ndarray:
    try:
        return read_mono(path, RATE_HZ)
    except DamagedFileError:  # a few are in formats that not every decoder reads
        return np.zeros(0, np.float32)


def tunes(sets: Path) -> Iterator[tuple[str, str, np.ndarray]]:
    """Held-out tunes by held-out instruments and fonts: group, name, samples."""
    rng = np.random.default_rng(23)
    files = audio_sets.midi_files(sets, "test", _TUNES)
    samplers = {
        name: sampler for name, sampler in audio_sets.instruments(sets).items() if name in _HELD_OUT_INSTRUMENTS
    }
    renderers: dict[str, Callable[[pretty_midi.PrettyMIDI], np.ndarray]] = {"freepats": through_timidity}
    if FONT.is_file():
        renderers["opl3"] = audio_sets.rendered_with(FONT.read_bytes())
    for number, index in enumerate(rng.permutation(len(files))[: _RENDERED + _PLAYED]):
        events = audio_sets.voiced(files[index], rng, LONGEST_S)
        if not events:
            continue
        if number < _PLAYED:
            chosen = rng.permutation(list(samplers)).tolist()
            samples = audio_sets.played_by_samples(events, [samplers[name] for name in chosen])
            group = "music, held-out instruments"
        else:
            name = tuple(renderers)[number % len(renderers)]
            programs = rng.choice(_PROGRAMS, 3, replace=False).tolist()
            samples, group = renderers[name](audio_sets.arranged(events, programs, None)), f"music, {name}"
        yield group, files[index].name, (samples / max(1e-9, float(np.abs(samples).max())) * 0.5).astype(np.float32)


def through_timidity(midi: pretty_midi.PrettyMIDI) -> np.ndarray:
    """Rendered with Debian's freepats, `(samples,)` at `RATE_HZ`."""
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "tune.mid", Path(folder) / "tune.wav"
        midi.write(str(source))
        # Debian's own choice is a sound font that training has.
        command = [
            "timidity",
            "-c",
            str(FREEPATS),
            str(source),
            "-Ow",
            "-o",
            str(target),
            "-s",
            str(RATE_HZ),
            "--output-mono",
        ]
        subprocess.run(command, check=True, capture_output=True)
        samples, _ = soundfile.read(target, dtype="float32")
    mono: np.ndarray = samples if samples.ndim == 1 else samples.mean(1)
    return mono


# Stereo


STEREO_RATE_HZ = 44_100
BANDS_HZ = ((0, 4_000), (4_000, 8_000), (8_000, 12_000), (12_000, 20_000))
_STEREO_S = 10.0


def stereo_music(folder: Path, most: int = 12) -> list[tuple[str, np.ndarray]]:
    """Excerpts of stereo tracks at 44.1 kHz in folders called "music": name and `(samples, 2)`."""
    found = []
    for path in sound_files(folder):
        if "music" not in path.parent.name.lower():
            continue
        sound = Sound.open(path)
        if sound.channels == 2 and sound.sample_rate_hz == STEREO_RATE_HZ and sound.duration_s > 3 * _STEREO_S:
            start, size = round(sound.frames * 0.4), round(_STEREO_S * STEREO_RATE_HZ)
            found.append((path.name, sound.samples[start : start + size]))
    return found[:: max(1, len(found) // most)][:most]


def stereo_noises(sets: Path) -> dict[str, np.ndarray]:
    """Hiss, hum and a fan, `(samples, 2)`; the channels of hiss are independent, those of the others nearly alike."""
    rng = np.random.default_rng(29)
    size = round(_STEREO_S * STEREO_RATE_HZ)
    time_s = np.arange(size) / STEREO_RATE_HZ
    hum = np.sum([rng.uniform(0.2, 1) / number**0.5 * np.sin(2 * np.pi * (50 * number * time_s + rng.random()))
                  for number in range(1, 13)], 0)  # fmt: skip
    fan = read_mono(sets / "noise44k_measure" / "things-ceiling-fan.ogg", STEREO_RATE_HZ)
    return {
        "hiss": rng.standard_normal((size, 2)),
        "hum": np.stack((hum, 0.9 * hum), 1),
        "fan": np.stack([np.resize(fan, size), np.roll(np.resize(fan, size), 40)], 1),
    }


def band_ratios_db(estimate: np.ndarray, clean: np.ndarray) -> list[float]:
    """Signal-to-error ratios in `BANDS_HZ`, both channels together, of `(samples, 2)` at `STEREO_RATE_HZ`."""
    frequency_hz = np.fft.rfftfreq(len(clean), 1 / STEREO_RATE_HZ)
    signal, error = (np.square(np.abs(np.fft.rfft(part, axis=0))).sum(1) for part in (clean, estimate - clean))
    found = []
    for low, high in BANDS_HZ:
        inside = (frequency_hz >= low) & (frequency_hz < high)
        found.append(float(10 * np.log10((signal[inside].sum() + 1e-12) / (error[inside].sum() + 1e-12))))
    return found


def band_levels_db(samples: np.ndarray) -> list[float]:
    """Levels in `BANDS_HZ` of `(samples, 2)` at `STEREO_RATE_HZ`."""
    frequency_hz = np.fft.rfftfreq(len(samples), 1 / STEREO_RATE_HZ)
    power = np.square(np.abs(np.fft.rfft(samples, axis=0))).sum(1)
    return [float(10 * np.log10(power[(frequency_hz >= low) & (frequency_hz < high)].sum() + 1e-12))
            for low, high in BANDS_HZ]  # fmt: skip


# Tonal sounds


def tonal_sounds() -> dict[str, np.ndarray]:
    """Clean whistles, howls, sirens, bells and synthesizers, `(samples,)` at 48 kHz: new draws of what training has."""
    rng = np.random.default_rng(31)
    return {
        f"{kind} {number}": (samples / np.abs(samples).max() * 0.5).astype(np.float32)
        for kind, make in audio_sets.MOVING.items()
        for number, samples in ((number, make(rng)) for number in range(4))
    }
