"""Shared by several commands: options, the reading of their values, and the paths of results.

Heavy imports are inside functions, and missing inputs are reported before a model is loaded.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from musicae.errors import MusicaeError, in_short, sentence_of

_SHIPPED = "[default: melody-2bar; notes-44k for sound]"


class DomainChoice(click.Choice[str]):
    """The names in `DOMAINS`, imported when they are needed."""

    def __init__(self) -> None:
        super().__init__(())

    @property
    def choices(self) -> tuple[str, ...]:
        from musicae.domains import DOMAINS

        return tuple(DOMAINS)

    @choices.setter
    def choices(self, _: Any) -> None:
        """Ignores what click assigns: the names are those of the table."""


def model_option(default: str | None) -> Callable[..., Any]:
    """The option `--model`; required if there is no default."""
    given: dict[str, Any] = {"required": True} if default is None else {"default": default}
    return click.option(
        "--model", metavar="NAME|FOLDER", help="Shipped name, a run's folder, or hf://USER/NAME.", **given
    )


def model_for_file_option(text: str = _SHIPPED) -> Callable[..., Any]:
    """The option `--model` of a command whose default model depends on its file."""
    return click.option(
        "--model", metavar="NAME|FOLDER", help=f"Shipped name, a run's folder, or hf://USER/NAME.  {text}"
    )


def out_option(metavar: str, default: str) -> Callable[..., Any]:
    """The options `--out` and `--force`.

    Args:
        metavar: FILE or FOLDER.
        default: the path without `--out`, in words, since it depends on the input.
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        out = click.option("-o", "--out", metavar=metavar, help=f"Where to write.  [default: {default}]")
        force = click.option(
            "--force", is_flag=True, help="Overwrite what is there.  [default: a number is added to the name]"
        )
        return out(force(command))

    return add


settings_option = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any other setting; an unknown key lists them all."
)
data_option = click.option(
    "--data",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Folder, file, or a set of pictures by name (mnist, fashion-mnist, cifar10); may be repeated.",
)
bar_option = click.option(
    "--bar", type=click.IntRange(1), metavar="BAR", help="First bar of the window.  [default: the densest window]"
)
track_option = click.option(
    "--track", metavar="TRACK", help="Music: by number from 0 or name.  [default: chosen by what it holds]"
)


class Bars(click.ParamType):
    """`9-16`, or `9` alone: a first and a last bar."""

    name = "bars"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Text → first and last bar, 1-based."""
        first, dash, last = str(value).partition("-")
        if first.isdecimal() and (last.isdecimal() or not dash) and 1 <= int(first) <= int(last or first):
            return int(first), int(last or first)
        self.fail(f"{in_short(str(value))} is no stretch of bars such as 9-16.", param, ctx)


def stretch_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options `--bars` and `--solo` of commands that change a part of a song."""
    bars = click.option(
        "--bars", type=Bars(), metavar="9-16", help="Music: the bars to change; all else stays.  [default: all]"
    )
    solo = click.option("--solo", is_flag=True, help="Music: write the changed part alone, without the other tracks.")
    return bars(solo(command))


def within_bars(domain: Any, change: Callable[[Any], Any], bars: tuple[int, int] | None, solo: bool) -> Any:
    """A function that changes a file, or some of its bars, and gives all of it or the changed part alone.

    Args:
        domain: of the model.
        change: what is done to a media object or a path.
        bars: as `Bars` gives them; None: all.
        solo: whether the other tracks are left out.

    Raises:
        MusicaeError: bars or tracks of something else than music.
    """
    from musicae.capabilities import HasTracks

    if (bars or solo) and not isinstance(domain, HasTracks):
        raise MusicaeError(f"--bars and --solo are for music, and this model's data is {domain.name}; leave them out.")

    def changed(file: Path) -> Any:
        source: Any = file if bars is None and not solo else domain.open(file)
        result = change(source if bars is None else source.with_bars(*bars))
        if not solo:
            return result
        from musicae.inference.results import Morph

        if isinstance(result, Morph):
            return result.each(lambda item: domain.solo(item, source))
        return domain.solo(result, source)

    return changed


refine_option = click.option(
    "--refine",
    type=click.IntRange(0, 1000),
    default=0,
    metavar="STEPS",
    help="Gradient steps that improve each code, such as 30: more of the file is kept, in some seconds more.",
)
seed_option = click.option("--seed", type=click.IntRange(0, 2**31 - 1), metavar="N", help="Same seed, same result.")
chords_option = click.option("--chords", metavar="TEXT", help='Harmony, as "C F G Am", spread evenly over all bars.')
label_option = click.option("--label", metavar="NAME", help="Class or instrument to draw, if the model has labels.")
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
FILE = click.Path(path_type=Path)
FILES = {"nargs": -1, "required": True, "type": FILE, "metavar": "FILE..."}


def load(model: str, track: str | None = None) -> Any:
    """Loads a model by name or folder.

    Args:
        model: a shipped name, a folder, or `hf://user/name`.
        track: the track that is read from every file of music.
    """
    from musicae.shipped import find_model

    folder = find_model(model)  # before torch is imported
    from musicae.trained import load

    trained = load(folder)
    if track is None:
        return trained
    if "track" not in type(trained.domain.config).model_fields:
        raise MusicaeError(f"--track chooses a track of music, and this model's data is {trained.domain.name}.")
    return trained.with_settings(track=read_track(track))


def load_for(
    model: str | None, path: Path, task: str = "reconstruct", track: str | None = None, refine: int = 0
) -> Any:
    """Loads a model by name or folder; by default the shipped one for files of this medium.

    Args:
        model: a shipped name or a folder; None: the default.
        path: a file or a folder; it has to exist.
        task: the task of the default model.
        track: as in `load`.
        refine: steps by which codes are improved, as in `TrainedModel.refining`.
    """
    check_inputs([path])
    if model is None:
        from musicae.shipped import SHIPPED_FOR

        shipped = SHIPPED_FOR[task]
        domain = domain_in(path)
        if domain not in shipped:
            raise click.UsageError(
                f"Missing option '--model': a model to {task} comes with musicae for {', '.join(shipped)} only."
            )
        model = shipped[domain]
    trained = load(model, track)
    return trained.refining(refine) if refine else trained


def check_inputs(paths: Iterable[Path]) -> None:
    """Raises `MusicaeError` for the first path that does not exist, before anything heavy is imported."""
    for path in paths:
        if not path.exists():
            raise MusicaeError(f"no such file: {path}")


def domain_in(path: Path) -> str:
    """The domain of a file or of most files below a folder, by their names; that of another file is music.

    Raises:
        MusicaeError: a folder without a file of any domain.
    """
    from musicae.domains import domain_of

    found = domain_of(path)
    if found is None and path.is_dir():
        raise MusicaeError(f"no pictures, music or sounds in {path}, by the names of its files.")
    return found or "music"


def first_input(paths: Sequence[Path]) -> Path:
    """The first of several files that exists. Raises `MusicaeError` if none does."""
    found = next((path for path in paths if path.exists()), None)
    if found is None:
        check_inputs(paths)
    return found or paths[0]


def read_track(track: str) -> int | str:
    """Text of digits → the number of a track; other text is a name."""
    return int(track) if track.isdigit() else track


def read_choice(bar: int | None, track: str | None, start_s: float | None = None) -> dict[str, Any]:
    """The chosen part of a file, as `Domain.select` takes it."""
    chosen: dict[str, Any] = {} if bar is None else {"bar": bar}
    if track is not None:
        chosen["track"] = read_track(track)
    if start_s is not None:
        chosen["start_s"] = start_s
    return chosen


def parse_settings(settings: tuple[str, ...]) -> dict[str, Any]:
    """KEY=VALUE pairs → a mapping; a value that is JSON is read as JSON, else as text."""
    from musicae.config import load_json

    parsed: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise click.UsageError(f"--set wants KEY=VALUE, got {in_short(setting)}.")
        try:
            parsed[key] = load_json(value)
        except ValueError:
            parsed[key] = value
    return parsed


def read_json(path: Path | None) -> dict[str, Any]:
    """A file with settings → a mapping; no file, no settings."""
    if path is None:
        return {}
    from musicae import config

    try:
        content = config.read_json(path)
    except FileNotFoundError:
        raise MusicaeError(f"no such file: {path}") from None
    except ValueError as error:
        raise MusicaeError(f"{path} is not JSON: {sentence_of(error)}.") from None
    if not isinstance(content, dict):
        raise MusicaeError(f"{path} holds no settings; expected one JSON object of keys and values.")
    return content


def echo_remarks(remarks: Iterable[str]) -> None:
    """Prints the remarks of a result on standard error."""
    for remark in remarks:
        click.echo(remark, err=True)


def output_path(out: str | None, default: str, *, force: bool) -> Path:
    """The path that a result is written to.

    Args:
        out: the value of `--out`; in a folder, or a name that ends with a slash, the file has the default's name.
        default: the name in `output/` if there is no `--out`.
        force: overwrite an existing file; else a number is added to the name.

    Raises:
        MusicaeError: it can't be written there.
    """
    from musicae.atomic_io import check_writable, free_path

    path = Path("output") / default if out is None else Path(out)
    if out is not None and (out.endswith("/") or path.is_dir()):
        path = path / default
    check_writable(path)
    return path if force else free_path(path)


def save_morph(morph: Any, out: str | None, default: str, *, force: bool) -> None:
    """Saves a `Morph` into a folder, and prints the files of the whole; arguments as in `output_path`."""
    from musicae.atomic_io import check_writable, free_path

    folder = Path("output") / default if out is None else Path(out)
    check_writable(folder, folder=True)
    if not force and morph.replaces(folder):
        folder = free_path(folder)
    whole = morph.save(folder)
    for file in sorted(whole.iterdir() if whole.is_dir() else whole.parent.glob(f"{whole.stem}.*")):
        click.echo(file)
    echo_remarks(morph.remarks)


def save_one_or_all(morph: Any, out: str | None, name: str, *, force: bool) -> None:
    """Saves a `Morph` of one media object as a file, one of several into a folder; arguments as in `output_path`."""
    if len(morph) > 1:
        save_morph(morph, out, name, force=force)
        return
    save_file(morph[0], out, name, force=force)


def save_file(result: Any, out: str | None, name: str, *, force: bool) -> None:
    """Saves a media object, and prints its path and remarks; arguments as in `output_path`, the name without ending."""
    click.echo(result.save(output_path(out, f"{name}{result.suffix}", force=force)))
    echo_remarks(result.remarks)


def name_of(path: Path) -> str:
    """The first part of the names of results."""
    return path.name if path.is_dir() else path.stem


def inputs_of(paths: Sequence[Path], domain: Any) -> list[tuple[Path, Path]]:
    """Lists files, and those below folders, each with its path relative to a folder of results.

    Raises:
        MusicaeError: a folder without files of the domain.
    """
    found: list[tuple[Path, Path]] = []
    for path in paths:
        if not path.is_dir():
            found.append((path, Path(path.name)))
            continue
        below = sorted(file for file in path.rglob("*") if file.is_file() and domain.reads(file))
        if not below:
            raise MusicaeError(f"no {domain.name} files in {path}; expected {', '.join(domain.suffixes)}.")
        found += [(file, file.relative_to(path)) for file in below]
    return found
