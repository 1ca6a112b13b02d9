"""Makes voices and babble for training denoisers, from folders of free recordings.

    python experiments/voices.py --sets FOLDER --out FOLDER/sound --voices FOLDER [--voices FOLDER …]

A handful of speakers is soon known by heart, so every recording is also played faster or slower, which moves pitch and
formants together as a larger or smaller speaker does. Noisy recordings are left out, since noise in a target is learned
as sound. Babble, many voices at once in a room, is noise of cafés that few free recordings hold.
Sentences that extension.py scores with are left out.

Voices that shipped models learned from: github.com/rhasspy/dataset-voice-kerstin (CC0), github.com/MycroftAI/
Precise-Community-Data (public domain, but for its folder heysavant), the set speech48k but for its Gaelic speaker, on
whom models are chosen, and `sound/free_speech` of debian_sounds.py.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import click
import numpy as np
import soundfile
from sounds import held_out, read_mono, resampled, sound_files

from musicae.audio.noise_recordings import without_silence
from musicae.errors import MusicaeError

RATE_HZ = 48_000
_FILE_S = 20.0
_PAUSES_S = (0.05, 0.5)
_OCTAVES = 5 / 12  # the furthest that a voice is moved
# A recording counts as clean where its quiet moments lie so far below its loud ones.
_CLEAN_DB, _LOUD, _QUIET = 32.0, 95, 10
_FRAME_S = 0.02
_BABBLES, _BABBLE_S = 60, 12.0
_VOICES_AT_ONCE = (5, 24)
_REVERBERATION_S = (0.3, 1.2)


def is_clean(samples: np.ndarray) -> bool:
    """Whether pauses of `(samples,)` are quiet; of what has no pauses, nothing is known, and it is no."""
    frame = round(_FRAME_S * RATE_HZ)
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    if len(frames) < 10:
        return False
    level_db = 10 * np.log10(np.square(frames).mean(1) + 1e-12)
    loud, quiet = np.percentile(level_db, (_LOUD, _QUIET))
    return bool(loud - quiet > _CLEAN_DB)


def recordings(folders: Sequence[Path], left_out: Collection[str] = ()) -> Iterator[np.ndarray]:
    """Yields clean recordings of the folders, `(samples,)` of peak 1, in the order of their names.

    Args:
        folders: with sound files.
        left_out: names, without endings, of files that others are measured on.
    """
    for folder in folders:
        for path in sound_files(folder):
            if path.stem in left_out:
                continue
            try:
                samples = read_mono(path, RATE_HZ)
            except MusicaeError:
                continue
            loudest = float(np.abs(samples).max(initial=0.0))
            if loudest > 0.01 and is_clean(samples):
                yield samples / loudest


def in_rows(parts: Iterator[np.ndarray], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Joins recordings, with pauses between them, to files of about `_FILE_S`."""
    waiting: list[np.ndarray] = []
    for samples in parts:
        waiting += [rng.uniform(0.4, 1) * samples, np.zeros(round(rng.uniform(*_PAUSES_S) * RATE_HZ), np.float32)]
        if sum(map(len, waiting)) >= _FILE_S * RATE_HZ:
            yield np.concatenate(waiting)
            waiting = []


def as_other_speaker(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`(samples,)` played faster or slower."""
    return resampled(samples, round(RATE_HZ * 2 ** rng.uniform(-_OCTAVES, _OCTAVES)), RATE_HZ)


def babble(voices: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Several voices at once, each at its own level, in one room: `(samples,)` of peak 1."""
    samples = round(_BABBLE_S * RATE_HZ)
    total = np.zeros(samples, np.float32)
    for _ in range(int(rng.integers(*_VOICES_AT_ONCE))):
        voice = without_silence(voices[int(rng.integers(len(voices)))], RATE_HZ)
        total += rng.uniform(0.2, 1) * np.roll(np.resize(voice, samples), int(rng.integers(samples)))
    seconds = np.arange(round(1.5 * RATE_HZ)) / RATE_HZ
    room = rng.standard_normal(len(seconds)) * np.exp(-6.9 * seconds / rng.uniform(*_REVERBERATION_S))
    room[0] = rng.uniform(0, 1) * np.sqrt(np.square(room).sum())
    size = 2 * samples
    spectrum = np.fft.rfft(total, size) * np.fft.rfft(room, size)
    mixed: np.ndarray = np.fft.irfft(spectrum, size)[:samples]
    return (mixed / np.abs(mixed).max()).astype(np.float32)


@click.command(help=__doc__)
@click.option("--sets", required=True, type=click.Path(path_type=Path, exists=True), help="Folder of unpacked sets.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the sounds.")
@click.option("--voices", multiple=True, type=click.Path(path_type=Path, exists=True), help="Recordings; many times.")
def main(sets: Path, out: Path, voices: tuple[Path, ...]) -> None:
    rng = np.random.default_rng(21)
    folders = [*voices, *(sets / "speech48k" / name for name in ("kerstin-de", "art4apps-en"))]
    found = list(recordings(folders, {path.stem for path in held_out(sets / "speech_kerstin16k", "test")}))
    free = list(recordings([out / "free_speech"]))
    kinds = {
        "voices": in_rows((found[index] for index in rng.permutation(len(found))), rng),
        "voices_moved": in_rows(
            (as_other_speaker(samples, rng) for samples in map([*found, *free].__getitem__,
                                                               rng.permutation(len(found) + len(free)))), rng
        ),
        "babble": (babble([*found, *free], rng) for _ in range(_BABBLES)),
    }  # fmt: skip
    for name, sounds in kinds.items():
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        length_s = 0.0
        for number, samples in enumerate(sounds):
            loudest = max(1e-9, float(np.abs(samples).max()))
            soundfile.write(folder / f"{number:04d}.flac", 0.8 / loudest * samples, RATE_HZ, subtype="PCM_16")
            length_s += len(samples) / RATE_HZ
        click.echo(f"{folder}: {length_s / 60:.1f} min")


if __name__ == "__main__":
    main()
