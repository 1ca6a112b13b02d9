"""Gives single notes the names that `labels=true` reads: a folder for each instrument, pitch and velocity first.

    python experiments/named_notes.py --sets FOLDER --out FOLDER/sound

Recorded instruments of the set instruments44k, and what audio_sets.py plays with a sound font, `gm_…` by the names of
General MIDI. The sounds are linked, not copied.
"""

import re
import shutil
from pathlib import Path

import click
import pretty_midi
from instruments import pitch_of, velocity_of

_SOUNDS = (".wav", ".flac", ".ogg")


def named(sets: Path) -> list[tuple[Path, str]]:
    """Sounds, and the names that they get, below the folder of the set."""
    found = []
    for path in sorted((sets / "instruments44k").glob("*/*.ogg")):
        if (pitch := pitch_of(path)) is not None:
            found.append((path, f"{path.parent.name}/{pitch}-{velocity_of(path)}-{path.stem}{path.suffix}"))
    for path in sorted((sets / "sound" / "font_notes").iterdir()):
        if path.suffix in _SOUNDS:
            program, pitch, velocity = map(int, path.stem.split("-"))
            name = pretty_midi.program_to_instrument_name(program).lower()
            found.append((path, f"gm_{re.sub(r'[^a-z0-9]+', '_', name).strip('_')}/{pitch}-{velocity}{path.suffix}"))
    return found


@click.command()
@click.option("--sets", type=click.Path(path_type=Path, exists=True), required=True, help="Where the sets are.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A folder for the new set.")
def main(sets: Path, out: Path) -> None:
    """Links the notes."""
    folder = out / "named_notes"
    shutil.rmtree(folder, ignore_errors=True)
    sounds = named(sets)
    for path, name in sounds:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.hardlink_to(path)
    click.echo(f"{folder}: {len(sounds)} notes of {len(list(folder.iterdir()))} instruments")


if __name__ == "__main__":
    main()
