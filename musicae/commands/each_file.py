"""Changes files one after the other, or a whole folder, and writes each result where `--out` says."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import click

from musicae.commands.options import echo_remarks, inputs_of, name_of, output_path
from musicae.errors import MusicaeError


def change_each(
    files: Sequence[Path],
    domain: Any,
    change: Callable[[Path], Any],
    verb: str,
    out: str | None,
    force: bool,
    *,
    report: bool = False,
) -> None:
    """Changes each file and saves the result. If one of several fails, the error is printed and the others go on.

    Args:
        files: files and folders.
        domain: opens them.
        change: a path → a media object.
        verb: of the names of results.
        out: `--out`.
        force: `--force`.
        report: whether a sound is measured and drawn before and after.
    """
    from musicae.capabilities import HasReport

    if report and not isinstance(domain, HasReport):
        raise MusicaeError(f"only a sound has a report, and this model's data is {domain.name}; leave --report out.")
    inputs = inputs_of(files, domain)
    is_one = len(files) == 1 and not files[0].is_dir()
    first_name = name_of(files[0]) if files[0].is_dir() else "files"
    folder = Path("output") / f"{first_name}-{verb}" if out is None else Path(out)
    if not is_one:
        if out is not None and Path(out).suffix.lower() in domain.suffixes and not Path(out).is_dir():
            raise MusicaeError(f"results of several files go into a folder, and --out {out} is named like a file.")
        _refuse_equal_names([place for _, place in inputs])
    refused: list[MusicaeError] = []
    for file, place in inputs:
        try:
            started = time.perf_counter()
            result = change(file)
            if is_one:
                target = output_path(out, f"{file.stem}-{verb}{result.suffix}", force=force)
            else:
                target = output_path(str(folder / place.with_suffix(result.suffix)), "", force=force)
            if target.exists() and target.samefile(file):
                raise MusicaeError(f"{target} is the input itself; choose another --out.")
            saved = result.save(target)
        except MusicaeError as error:
            if is_one:
                raise
            click.echo(f"Error: {error}", err=True)
            refused.append(error)
            continue
        click.echo(saved)
        if report:
            _report(domain, file, saved, time.perf_counter() - started)
        echo_remarks(result.remarks)
    if refused:
        raise type(refused[0])(f"{len(refused)} of {len(inputs)} files gave no result.")


def _report(domain: Any, before: Path, after: Path, elapsed_s: float) -> None:
    """Prints a report on a file and its result, and draws both as PNG beside the result."""
    from musicae.domain import Domain
    from musicae.plots import save_png

    files = [cast(Domain, domain).open(file) for file in (before, after)]
    found = domain.report(files[0], files[1], elapsed_s)
    picture = after.with_suffix(".png")
    save_png(found.plot(), picture)
    for line in (*found.lines, f"spectrograms: {picture}"):
        click.echo(line)


def _refuse_equal_names(places: Sequence[Path]) -> None:
    seen: set[Path] = set()
    for place in places:
        stem = place.with_suffix("")
        if stem in seen:
            raise MusicaeError(f"several files are called {stem} and would have one result; take them one by one.")
        seen.add(stem)
