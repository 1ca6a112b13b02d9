"""Makes the pictures and sounds of README and docs again: `python docs/media/make.py`."""

from pathlib import Path

import soundfile
import soxr

import musicae
from musicae.audio.report import compare
from musicae.starter import starter_file

FOLDER = Path(__file__).resolve().parent
_RATE_HZ = 24_000
_COMPRESSION = 0.5


def main() -> None:
    """A morph, as picture and sound; a recording before and after cleaning."""
    morph = musicae.load("melody-2bar").interpolate(starter_file("a.mid"), starter_file("b.mid"), steps=7)
    morph.plot().reduce(2).save(FOLDER / "interpolation.png", optimize=True)
    write_mp3(morph.joined.render(), FOLDER / "interpolation.mp3")
    noisy = musicae.Sound.open(starter_file("noisy.wav"))
    clean = musicae.load("denoise-16k").denoise(noisy)
    compare(noisy, clean, 0.0).plot().convert("RGB").reduce(2).save(FOLDER / "denoise.jpg", quality=85)
    write_mp3(noisy, FOLDER / "noisy.mp3")
    write_mp3(clean, FOLDER / "clean.mp3")


def write_mp3(sound: musicae.Sound, path: Path) -> None:
    """Mono and small, to be listened to on a page."""
    samples = sound.samples if sound.samples.ndim == 1 else sound.samples.mean(1)
    mono = soxr.resample(samples, sound.sample_rate_hz, _RATE_HZ)
    soundfile.write(path, mono, _RATE_HZ, format="MP3", compression_level=_COMPRESSION)


if __name__ == "__main__":
    main()
