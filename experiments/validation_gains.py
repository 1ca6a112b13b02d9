"""What denoisers gain on validation clips, by which trainings are compared before one is tested.

    python experiments/validation_gains.py --sets FOLDER --runs FOLDER NAME...

The folders are those of audio.py; a name is a run's. Sounds and recorded noise are of the training sets' validation
parts: voices, tunes and produced music, in weather and machines, in rooms, and in steady noise of random colour.
Means of SI-SDR gains in dB; the results of all runs measured so far stay in validation_gains.json.
"""

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch
from noisy_clips import RATE_HZ, Clip, active, coloured, held_out, on_spectrum, restored, score

from musicae.audio.files import read_mono
from musicae.audio.noise_recordings import noise_files, split_of_noise
from musicae.audio.wiener import wiener_filtered
from musicae.trained import load

RESULTS = Path(__file__).parent / "validation_gains.json"
RATIOS_DB = (0.0, 10.0)
SOUNDS = {
    "voice": ("speech_kerstin16k", 3),
    "other voices": ("sound/free_speech", 4),
    "tunes": ("sound/music_train", 8),
    "produced music": ("sound/free_music", 8),
}
"""Set and number of files."""
NOISES = {"weather and machines": ("sound/noise_train", "sound/free_noise"), "rooms": ("noise_room",), "coloured": ()}
_CLIP_S = 7.0

Gains = dict[str, dict[str, float]]
"""Sound → noise → mean gain in dB."""


@click.command(help=__doc__)
@click.option("--sets", required=True, type=click.Path(path_type=Path, exists=True), help="Folder of unpacked sets.")
@click.option("--runs", required=True, type=click.Path(path_type=Path, exists=True), help="Folder of trained runs.")
@click.argument("names", nargs=-1, required=True)
def main(sets: Path, runs: Path, names: tuple[str, ...]) -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    torch.set_num_threads(1)
    found = validation_clips(sets)
    results["wiener"] = gains(found, lambda noisy: on_spectrum(wiener_filtered, noisy))
    for name in names:
        trained = load(runs / name, "cpu")
        results[name] = gains(found, lambda noisy, trained=trained: restored(trained, noisy))
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    click.echo(table(results))


def validation_clips(sets: Path) -> list[tuple[str, str, Clip]]:
    """Sound, noise and clip; the same ones every time."""
    rng = np.random.default_rng(3)
    noises = {kind: _recordings([sets / place for place in places]) for kind, places in NOISES.items() if places}
    found = []
    for sound, (name, count) in SOUNDS.items():
        for path in held_out(sets / name, "validation")[:count]:
            clean = read_mono(path, RATE_HZ)[: round(_CLIP_S * RATE_HZ)]
            for kind in NOISES:
                if kind in noises:
                    recording = noises[kind][int(rng.integers(len(noises[kind])))]
                    noise = np.roll(np.resize(recording, len(clean)), int(rng.integers(len(clean))))
                else:
                    noise = coloured(len(clean), rng)
                found.append((sound, kind, Clip(sound, path.name, clean, noise)))
    return found


def _recordings(places: list[Path]) -> list[np.ndarray]:
    """At least a second each, of the noises that training keeps for validation."""
    files = [path for path in noise_files(places) if split_of_noise(path) == "validation"]
    recordings = [samples for path in files if len(samples := active(path)) >= RATE_HZ]
    if not recordings:
        raise click.ClickException(f"no validation recording of a second or more in {', '.join(map(str, places))}")
    return recordings


def gains(found: list[tuple[str, str, Clip]], method: Callable[[np.ndarray], np.ndarray]) -> Gains:
    """Means over clips and ratios."""
    told: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for sound, kind, clip in found:
        for ratio_db in RATIOS_DB:
            after = score(method(clip.noisy(ratio_db)), clip.clean, is_speech=False)["si_sdr_db"]
            told[sound][kind].append(after - ratio_db)
    return {sound: {kind: float(np.mean(values)) for kind, values in row.items()} for sound, row in told.items()}


def table(results: dict[str, Gains]) -> str:
    """In Markdown."""
    lines = [f"| gain, dB | {' | '.join(results)} |", "|---" * (len(results) + 1) + "|"]
    for sound in SOUNDS:
        for kind in NOISES:
            row = " | ".join(f"{result[sound][kind]:.1f}" for result in results.values())
            lines.append(f"| {sound}, {kind} | {row} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
