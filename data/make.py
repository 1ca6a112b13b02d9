"""Makes the starter files beside this script from `tunes.abc`, so that none of them is a file nobody can redo.

    python data/make.py            writes a.mid and b.mid, the same bytes every time, and the table of README.md
    python data/make.py --sound    writes noisy.wav too; its samples depend on the synthesizer that is installed
    python data/make.py --table    prints the table of tunes

It knows nothing of models or domains: it reads scores, writes MIDI, and adds noise.
"""

import re
import sys
from pathlib import Path

import numpy as np
import pretty_midi

from musicae.audio.sound import Sound
from musicae.music.piece import Piece
from musicae.music.score import NamedScore, read_scores

FOLDER = Path(__file__).parent
TUNES = FOLDER / "tunes.abc"
README = FOLDER / "README.md"

QUARTER_NOTE_TUNE = "Ode to Joy"  # a.mid
EIGHTH_NOTE_TUNE = "Drowsy Maggie"  # b.mid
SOUND_TUNE = "Korobeiniki"  # noisy.wav

SIXTEENTHS_PER_QUARTER = 4

SAMPLE_RATE_HZ = 16_000
SOUND_DURATION_S = 12.0
FADE_OUT_S = 0.5
SIGNAL_TO_NOISE_DB = 5.0
HUM_HZ = 50.0
HUM_HARMONICS = 8
HUM_SHARE = 0.2  # of the noise's power; the rest is pink
LOWEST_NOISE_HZ = 20.0
SEED = 5
PEAK = 0.9

TABLE_START = "<!-- tunes: written by make.py -->"
TABLE_END = "<!-- end of tunes -->"
TABLE_HEAD = ("title", "origin", "time signature", "key", "bars", "composer", "source of the tune")


def read_headers() -> list[dict[str, str]]:
    """The header fields of every tune, by letter; the number of bars as they are played under `bars`."""
    headers = []
    for block, score in zip(_blocks(), read_scores(TUNES), strict=True):
        fields: dict[str, str] = {}
        for letter, value in re.findall(r"^([A-Z]):[ \t]*(.*?)[ \t]*$", block, re.MULTILINE):
            fields.setdefault(letter, value)
        signature = score.score.time_signatures[0]
        bar_ticks = score.score.tpq * 4 * signature.numerator // signature.denominator
        fields["bars"] = str(-(-score.score.end() // bar_ticks))
        headers.append(fields)
    return headers


def table() -> str:
    """The table of tunes in Markdown, one line for each tune in the file's order."""
    rows = [TABLE_HEAD, ("---",) * len(TABLE_HEAD)]
    for header in read_headers():
        composer = "traditional" if header["C"] == "Trad." else header["C"]
        rows.append((header["T"], header["O"], header["M"], header["K"], header["bars"], composer, header["S"]))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def write_table() -> None:
    """Puts the table between its marks in README.md."""
    before, rest = README.read_text(encoding="utf-8").split(TABLE_START)
    after = rest.split(TABLE_END)[1]
    README.write_text(f"{before}{TABLE_START}\n{table()}{TABLE_END}{after}", encoding="utf-8")


def tune_midi(title: str) -> pretty_midi.PrettyMIDI:
    """One tune as MIDI: a single track called melody, in the tune's own tempo and time signature.

    Raises:
        ValueError: no tune of that title.
    """
    score = _tune(title).score
    tempo_bpm, signature = score.tempos[0].qpm, score.time_signatures[0]
    midi = pretty_midi.PrettyMIDI(resolution=480, initial_tempo=tempo_bpm)
    midi.time_signature_changes.append(pretty_midi.TimeSignature(signature.numerator, signature.denominator, 0.0))
    melody = pretty_midi.Instrument(program=0, name="melody")
    sixteenth_ticks = score.tpq // SIXTEENTHS_PER_QUARTER
    sixteenth_s = 60.0 / tempo_bpm / SIXTEENTHS_PER_QUARTER
    for note in score.tracks[0].notes:
        # The converter starts every note one tick late.
        start, end = (round(tick / sixteenth_ticks) * sixteenth_s for tick in (note.start, note.end))
        melody.notes.append(pretty_midi.Note(note.velocity, note.pitch, start, end))
    midi.instruments.append(melody)
    return midi


def make_midi(folder: Path = FOLDER) -> None:
    """Writes a.mid and b.mid."""
    tune_midi(QUARTER_NOTE_TUNE).write(str(folder / "a.mid"))
    tune_midi(EIGHTH_NOTE_TUNE).write(str(folder / "b.mid"))


def make_noisy_wav(folder: Path = FOLDER) -> None:
    """Writes noisy.wav: the start of one tune, rendered, with pink noise and mains hum about 5 dB below it."""
    samples = round(SOUND_DURATION_S * SAMPLE_RATE_HZ)
    music = Piece.open(tune_midi(SOUND_TUNE)).render(SAMPLE_RATE_HZ).samples[:samples].astype(np.float64)
    fade = round(FADE_OUT_S * SAMPLE_RATE_HZ)
    music[-fade:] *= np.linspace(1.0, 0.0, fade)
    noise = coloured_noise(len(music), np.random.default_rng(SEED))
    noise *= np.sqrt(np.mean(music**2) / 10 ** (SIGNAL_TO_NOISE_DB / 10))
    noisy = music + noise
    Sound((noisy * PEAK / np.abs(noisy).max()).astype(np.float32), SAMPLE_RATE_HZ).save(folder / "noisy.wav")


def coloured_noise(samples: int, generator: np.random.Generator) -> np.ndarray:
    """Pink noise and mains hum with its harmonics, float64 `(samples,)`, mean power 1.

    Args:
        samples: how many, at `SAMPLE_RATE_HZ`.
        generator: where the randomness comes from.
    """
    frequency_hz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE_HZ)
    spectrum = np.fft.rfft(generator.standard_normal(samples)) / np.sqrt(np.maximum(frequency_hz, LOWEST_NOISE_HZ))
    spectrum[frequency_hz < LOWEST_NOISE_HZ] = 0.0
    pink = np.fft.irfft(spectrum, samples)
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    hum = np.zeros(samples)
    for harmonic in range(1, HUM_HARMONICS + 1):
        phase = generator.uniform(0.0, 2 * np.pi)
        hum += np.sin(2 * np.pi * HUM_HZ * harmonic * time_s + phase) / harmonic
    return np.sqrt(1 - HUM_SHARE) * pink / pink.std() + np.sqrt(HUM_SHARE) * hum / hum.std()


def _blocks() -> list[str]:
    """The text of each tune."""
    return re.split(r"^(?=X:)", TUNES.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]


def _tune(title: str) -> NamedScore:
    for tune in read_scores(TUNES):
        if tune.title == title:
            return tune
    raise ValueError(f"expected the title of a tune in {TUNES.name}, got {title!r}")


if __name__ == "__main__":
    if "--table" in sys.argv[1:]:
        sys.stdout.write(table())
    else:
        make_midi()
        write_table()
        if "--sound" in sys.argv[1:]:
            make_noisy_wav()
