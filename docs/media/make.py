"""Makes the pictures and sounds of README and docs again: `python docs/media/make.py`."""

from pathlib import Path

import numpy as np
import soundfile
import soxr
from PIL.Image import Image, Resampling
from PIL.Image import new as new_image
from sklearn.datasets import load_sample_image

import musicae
from musicae.audio.report import compare
from musicae.music.config import MusicConfig
from musicae.music.midi import Notes
from musicae.music.rolls import piece_rolls
from musicae.music.starters import starter_pieces
from musicae.plots import piano_rolls
from musicae.starter import starter_file

FOLDER = Path(__file__).resolve().parent
_RATE_HZ = 24_000
_COMPRESSION = 0.5
_SHIFTED = (3, 4)  # bars
_SWING = 0.18  # of an eighth
_HEARD_S, _RATIO_DB = 8.0, 12.0
_GRAIN = 30  # levels of 255
_SMALLER = 3
_SHOWN, _GAP = (360, 270), 6  # pixels


def main() -> None:
    """A morph, as picture and sound; a tune shifted as it is played; two hands; trios; samples; a clean recording."""
    morph = musicae.load("melody-2bar").interpolate(starter_file("a.mid"), starter_file("b.mid"), steps=7)
    morph.plot().reduce(2).save(FOLDER / "interpolation.png", optimize=True)
    write_mp3(morph.joined.render(), FOLDER / "interpolation.mp3")
    tune = swung(musicae.Piece.open(starter_file("b.mid")))
    busier = musicae.load("melody-2bar").shift(tune.with_bars(*_SHIFTED), "density", 2.0)
    four_bars(("as played", tune), ("shifted", busier)).save(FOLDER / "played.png", optimize=True)
    first, second = list(starter_pieces(MusicConfig(part="piano"), starter_file))[1:3]
    hands = musicae.load("piano-2bar").interpolate(first, second, steps=5)
    hands.plot().reduce(2).save(FOLDER / "piano.png", optimize=True)
    trios = musicae.load("trio-2bar").sample(3, chords="Dm G C A7", seed=1)
    trios.plot().reduce(2).save(FOLDER / "trio.png", optimize=True)
    melodies = musicae.load("melody-16bar").sample(3, key="D minor", seed=4)
    melodies.plot().reduce(2).save(FOLDER / "melodies.png", optimize=True)
    grooves = musicae.load("drums-2bar").sample(4, seed=3)
    grooves.plot().reduce(2).save(FOLDER / "grooves.png", optimize=True)
    noisy = hissing(musicae.Piece.open(starter_file("a.mid")).render(44_100, longest_s=_HEARD_S))
    clean = musicae.load("denoise-48k").denoise(noisy)
    draw_both(noisy, clean, "denoise.jpg")
    write_mp3(noisy, FOLDER / "noisy.mp3")
    write_mp3(clean, FOLDER / "clean.mp3")
    call = musicae.Piece.open(starter_file("b.mid")).render(44_100, longest_s=_HEARD_S).resample(8_000)
    draw_both(call.resample(48_000), musicae.load("upscale-48k").upscale(call), "upscale.jpg")
    photograph = load_sample_image("china.jpg")  # CC BY 2.0, danielbuechele
    noise = _GRAIN * np.random.default_rng(0).standard_normal(photograph.shape)
    grainy = musicae.Picture.open((photograph + noise).round().clip(0, 255).astype(np.uint8))
    side_by_side("photo-denoise.jpg", grainy, musicae.load("photo-denoise").denoise(grainy))
    small = musicae.Picture.open(photograph).to_pil().reduce(_SMALLER)
    large = [side * _SMALLER for side in small.size]
    sharper = musicae.load("photo-upscale").upscale(small, scale=_SMALLER)
    side_by_side("photo-upscale.jpg", musicae.Picture.open(small.resize(large, Resampling.BICUBIC)), sharper)


def hissing(tune: musicae.Sound) -> musicae.Sound:
    """A tune in pink noise and mains hum."""
    rng = np.random.default_rng(0)
    samples = tune.samples.reshape(-1)
    spectrum = np.fft.rfft(rng.standard_normal(len(samples)))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    pink = np.fft.irfft(spectrum, len(samples))
    hum = np.sin(2 * np.pi * 50 * np.outer([1, 3, 5], np.arange(len(samples)) / tune.sample_rate_hz)).sum(0)
    noise = pink / pink.std() + 0.5 * hum
    level = np.sqrt(np.mean(samples**2)) * 10 ** (-_RATIO_DB / 20) / noise.std()
    return musicae.Sound(0.7 * (samples + level * noise), tune.sample_rate_hz, name="noisy")


def draw_both(before: musicae.Sound, after: musicae.Sound, name: str) -> None:
    """Spectrograms one above the other."""
    compare(before, after, 0.0).plot().convert("RGB").reduce(2).save(FOLDER / name, quality=85)


def side_by_side(name: str, *pictures: musicae.Picture) -> None:
    """The middles of pictures, one beside the other."""
    sheet = new_image("RGB", (len(pictures) * _SHOWN[0] + (len(pictures) - 1) * _GAP, _SHOWN[1]), "white")
    for number, picture in enumerate(pictures):
        left, top = (picture.width - _SHOWN[0]) // 2, (picture.height - _SHOWN[1]) // 2
        part = picture.to_pil().crop((left, top, left + _SHOWN[0], top + _SHOWN[1]))
        sheet.paste(part, (number * (_SHOWN[0] + _GAP), 0))
    sheet.save(FOLDER / name, quality=90)


def swung(tune: musicae.Piece) -> musicae.Piece:
    """The tune with accents, and with its off-beats late, as people play it."""
    notes, eighth = tune.notes(0), tune.ticks_per_quarter // 2
    late = np.where(notes.start // eighth % 2 == 1, round(_SWING * eighth), 0)
    accent = np.select([notes.start % (8 * eighth) == 0, notes.start % (2 * eighth) == 0], [112, 88], 62)
    end = notes.end + np.where(notes.end // eighth % 2 == 1, round(_SWING * eighth), 0)
    return tune.replace({0: Notes(notes.start + late, end, notes.pitch, accent)})


def four_bars(*pieces: tuple[str, musicae.Piece]) -> Image:
    """The first bars of pieces with a label each, as piano rolls one above the other."""
    rows, bar, beat = {}, 16, 4
    for label, piece in pieces:
        drawn = piece_rolls(piece)
        bar, beat = drawn.steps_per_bar, drawn.steps_per_beat
        rows[label] = [next(iter(drawn.rows.values()))[0][:, : 4 * bar]]
    return piano_rolls(rows, steps_per_bar=bar, steps_per_beat=beat)


def write_mp3(sound: musicae.Sound, path: Path) -> None:
    """Mono and small, to be listened to on a page."""
    samples = sound.samples if sound.samples.ndim == 1 else sound.samples.mean(1)
    mono = soxr.resample(samples, sound.sample_rate_hz, _RATE_HZ)
    soundfile.write(path, mono, _RATE_HZ, format="MP3", compression_level=_COMPRESSION)


if __name__ == "__main__":
    main()
