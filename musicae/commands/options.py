"""What several commands share: options, and how their text is read. Heavy imports stay inside functions."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import click

from musicae.atomic_io import refuse_place
from musicae.data.named_sets import NAMED_SETS
from musicae.errors import MusicaeError


class DomainChoice(click.Choice[str]):
    """The names in `DOMAINS`, read when they are wanted: the table brings torch."""

    def __init__(self) -> None:
        super().__init__(())

    @property
    def choices(self) -> tuple[str, ...]:
        from musicae.domains import DOMAINS

        return tuple(DOMAINS)

    @choices.setter
    def choices(self, _: Any) -> None:
        """click assigns its own; the table's stand."""


def model_option(default: str | None) -> Callable[..., Any]:
    """`--model`; required where there is no default."""
    given: dict[str, Any] = {"required": True} if default is None else {"default": default}
    return click.option("--model", metavar="NAME|FOLDER", help="Shipped name, or a run's folder.", **given)


# For commands that rebuild or make: which shipped model serves a kind of file.
SHIPPED_FOR = {"music": "melody-2bar", "audio": "notes-16k"}
model_for_file_option = click.option(
    "--model",
    metavar="NAME|FOLDER",
    help=f"Shipped name, or a run's folder.  [default: {SHIPPED_FOR['music']}; {SHIPPED_FOR['audio']} for sound]",
)


UPSCALER_FOR = {"audio": "upscale-16k"}
upscaler_option = click.option(
    "--model",
    metavar="NAME|FOLDER",
    help=f"Shipped name, or a run's folder.  [default: {UPSCALER_FOR['audio']} for sound]",
)


def out_option(metavar: str, default: str, *, required: bool = False) -> Callable[..., Any]:
    """`--out`; the default is said in words, since it depends on the input.

    Args:
        metavar: FILE or FOLDER.
        default: what is written without it.
        required: there is no default.
    """
    text = "Where to write." if required else f"Where to write.  [default: {default}]"
    return click.option("-o", "--out", type=click.Path(path_type=Path), metavar=metavar, help=text, required=required)


settings_option = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any other setting; an unknown key lists them all."
)
data_option = click.option(
    "--data",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help=f"Folder, file, or a set of pictures by name ({', '.join(NAMED_SETS)}); may be repeated.",
)
bar_option = click.option(
    "--bar", type=click.IntRange(1), metavar="BAR", help="First bar of the window.  [default: the densest window]"
)
track_option = click.option("--track", metavar="TRACK", help="By number from 0 or name.  [default: chosen]")
seed_option = click.option("--seed", type=click.IntRange(0, 2**31 - 1), metavar="N", help="Same seed, same result.")
chords_option = click.option(
    "--chords", metavar="TEXT", help='Harmony to follow, as "C F G Am"; for models trained with chords.'
)
label_option = click.option(
    "--label", metavar="NAME", help="Class to draw; for models of pictures trained with labels."
)
temperature_option = click.option(
    "--temperature", type=click.FloatRange(0), default=1.0, metavar="T", help="0: the most probable symbols."
)
top_p_option = click.option(
    "--top-p",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    metavar="P",
    help="Draw from the most probable symbols that together have this probability.",
)


def load(model: str) -> Any:
    """Loads a model by name or folder."""
    from musicae.trained import load

    return load(model)


def load_for(model: str | None, path: Path, shipped: Mapping[str, str] = SHIPPED_FOR) -> Any:
    """Loads a model by name or folder; without either, the shipped one for files of this kind, or in this folder.

    Args:
        model: as a person gave it.
        path: a file or a folder.
        shipped: kind of file → shipped model; music's serves what is of no kind.
    """
    if model is not None:
        return load(model)
    from musicae.domains import DOMAINS

    files = chain([path], path.rglob("*"))
    kinds = (name for file in files for name in shipped if file.name.lower().endswith(DOMAINS[name].suffixes))
    kind = next(kinds, "music")
    if kind not in shipped:
        raise click.UsageError(f"Missing option '--model': a model comes with musicae for {', '.join(shipped)} only.")
    return load(shipped[kind])


def read_choice(bar: int | None, track: str | None, start_s: float | None = None) -> dict[str, Any]:
    """The parts of a file that were chosen; a track of digits is a number."""
    chosen: dict[str, Any] = {} if bar is None else {"bar": bar}
    if track is not None:
        chosen["track"] = int(track) if track.isdigit() else track
    if start_s is not None:
        chosen["start_s"] = start_s
    return chosen


def parse_settings(settings: tuple[str, ...]) -> dict[str, Any]:
    """KEY=VALUE pairs → a mapping; a value that is JSON is read as JSON, else as text."""
    parsed: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise click.UsageError(f"--set wants KEY=VALUE, got {setting!r}.")
        try:
            parsed[key] = json.loads(value)
        except ValueError:
            parsed[key] = value
    return parsed


def read_json(path: Path | None) -> dict[str, Any]:
    """A file with settings → a mapping; no file, no settings."""
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MusicaeError(f"no such file: {path}") from None
    except ValueError as error:
        raise MusicaeError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise MusicaeError(f"{path} holds no settings; expected one JSON object of keys and values.")
    return content


def echo_remarks(remarks: Iterable[str]) -> None:
    """Says on stderr what is worth knowing of a result."""
    for remark in remarks:
        click.echo(remark, err=True)


def echo_row(path: Path) -> None:
    """Prints what stands beside a written row: the whole, its picture, its sound."""
    for file in sorted(path.parent.glob(f"{path.stem}.*")):
        click.echo(file)


def named_results(
    files: Sequence[Path], out: Path | None, suffix_of: Callable[[Path], str]
) -> list[tuple[Path, Path | None]]:
    """Each file with the place of its result, None for the default.

    Args:
        files: one or more.
        out: the result of one file; a folder for those of several, or of one if the folder is there.
        suffix_of: a file → the ending of its result in a folder.

    Raises:
        MusicaeError: two files of one name would have one result.
    """
    if len(files) == 1 and (out is None or not out.is_dir()):
        return [(files[0], out)]
    twice = [name for name, count in Counter(file.stem for file in files).items() if count > 1]
    if twice:
        raise MusicaeError(f"several files are called {twice[0]} and would have one result; take them one by one.")
    if out is None:
        return [(file, None) for file in files]
    refuse_place(out, folder=True)
    out.mkdir(parents=True, exist_ok=True)
    return [(file, out / f"{file.stem}{suffix_of(file)}") for file in files]
