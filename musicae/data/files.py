"""Files of a data set: found, and read once into a store that is named by a fingerprint of them.

A folder of many files is read by several processes, and an interrupted reading continues where it stopped. A store that
is not as it was written is made again from the files. Nothing here knows splits or models.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from musicae import __version__
from musicae.atomic_io import NO_SPACE, partial_path
from musicae.data.checksums import damage
from musicae.data.pool import Guard, is_sendable, read_in_processes
from musicae.data.reading import Block, Outcome, gather_blocks, read_all
from musicae.data.remote import exists, fetch, is_remote
from musicae.data.shards import Shard, merged
from musicae.data.store import JOURNAL, Stored, StoreWriter, open_store, publish, refuse_if_unusable, writing_folder
from musicae.domain import Domain
from musicae.errors import MusicaeError
from musicae.starter import starter_items

_FINGERPRINT_VERSION = 2
"""Part of the fingerprint. It stays, so that a run that began with an older store can still be continued."""
_MANY_FILES, _MANY_BYTES = 10_000, 200 * 2**20
"""From this many files or bytes on, reading in other processes is worth the seconds that they take to start."""
_MOST_PROCESSES = 16
_BAR_DELAY_S = 1.0
"""Seconds before the progress bar is shown."""


@dataclass(frozen=True)
class Prepared:
    """A complete store, and how it came to be.

    Attributes:
        store: its folder; the name is the fingerprint.
        files: `(item name, path)`.
        processes: number of other processes that read it, or would; 0: it is read by this one.
        files_read: by this call, and not by an earlier one.
        examples_read: number of examples in these files.
        seconds: wall time of the reading.
        remarks: what was wrong with an earlier store, or with the place for it. It was said on standard error too.
    """

    store: Path
    files: list[tuple[str, Path]]
    processes: int
    files_read: int = 0
    examples_read: int = 0
    seconds: float = 0.0
    remarks: tuple[str, ...] = ()


def find_files(domain: Domain, paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """Lists a domain's files once each: `(item name, path)`; a name starts with that of the folder given.

    Raises:
        MusicaeError: a path does not exist, or nothing below it is one of the domain's files.
    """
    found: list[tuple[str, Path, str]] = []  # name, path, and the path with links resolved
    for path in paths:
        if path.is_file():
            found.append((path.name, path, os.path.realpath(path)))
        elif path.is_dir():
            found.extend(_files_below(domain, path.resolve()))
        else:
            raise MusicaeError(f"no such file or folder: {path}")
    if paths and not found:
        places = ", ".join(str(path) for path in paths)
        raise MusicaeError(f"no {domain.name} files in {places}; expected {', '.join(domain.suffixes)}.")
    return _with_unique_names(found)


def _files_below(domain: Domain, folder: Path) -> Iterator[tuple[str, Path, str]]:
    """Files of a folder and of those in it, sorted by folder and name; links to folders are not followed."""
    entries = sorted(_entries(str(folder)), key=lambda entry: entry.path.split(os.sep))
    # Names begin with the folder's own name, since two sets may hold files of the same name.
    above = len(str(folder.parent / "_")) - 1
    for entry in entries:
        path = Path(entry.path)
        if domain.reads(path) and entry.is_file():
            name = entry.path[above:].replace(os.sep, "/")
            yield name, path, os.path.realpath(path) if entry.is_symlink() else entry.path


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    with suppress(PermissionError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(entry.path)
            else:
                yield entry


def _with_unique_names(found: list[tuple[str, Path, str]]) -> list[tuple[str, Path]]:
    """Drops files that are listed twice, and numbers the second and later files of one name."""
    once: dict[str, tuple[str, Path]] = {}
    for name, path, real in found:
        once.setdefault(real, (name, path))
    names = Counter[str]()
    files = []
    for name, path in once.values():
        names[name] += 1
        files.append((name if names[name] == 1 else f"{name} ({names[name]})", path))
    return files


def prepare_store(
    domain: Domain,
    paths: Sequence[Path],
    *,
    cache: Path | None = None,
    processes: int | None = None,
    guard: Guard | None = None,
    journal_s: float = 5.0,
    shard: Shard | None = None,
    merge: int | None = None,
) -> Prepared:
    """Reads files into a store. Continues an interrupted reading; does nothing if the store is complete.

    Args:
        domain: reads the files.
        paths: folders and files; none for the domain's starter data.
        cache: where stores are kept; by default `cache_folder()`, or the user's where that can't be written.
        processes: number of reading processes, in which each file is guarded; 0: read in this process, unguarded. By
            default `$MUSICAE_PROCESSES`, else one for each core if there are many files.
        guard: limits for one file in such a process; by default `default_guard()`.
        journal_s: seconds of work that an interruption may lose.
        shard: read only this part of the files, into a store of its own.
        merge: the number of shards, whose stores are merged instead of reading the files.

    Raises:
        MusicaeError: nothing usable, with the reasons counted; no place where a store can be written; or a shard that
            isn't read yet.
    """
    guard = guard or default_guard()
    files = find_files(domain, paths)
    states = [path.stat() for _, path in files]
    fingerprint = _fingerprint(domain, files, states, guard)
    count = shard.count if shard is not None else merge or 0
    if count > len(files):
        raise MusicaeError(f"{len(files)} files can't be divided into {count} shards; give fewer shards.")
    name = fingerprint
    if shard is not None:
        files, states, name = shard.part(files), shard.part(states), shard.store_name(fingerprint)
    if processes is None:
        processes = default_processes(len(files), sum(state.st_size for state in states))
    if not files or not is_sendable(domain):
        processes = 0
    places = [cache] if cache else list(dict.fromkeys((cache_folder(), user_cache_folder())))
    remarks: list[str] = []
    stores = [place / name for place in places]
    if cache is None and (copied := _remote_store(name)):
        stores.insert(0, copied)
    for store in stores:
        if store.is_dir():
            if (fault := damage(store)) is None:
                return Prepared(store, files, processes, remarks=tuple(remarks))
            remarks.append(f"the store {store} is not used: {fault}. It is made again from the files.")
            _say(remarks[-1])
    place, refused = _writable(places)
    if refused is not None:
        remarks.append(f"{refused} can't be written, so the store is kept in {place}.")
        _say(remarks[-1])
    prepared = Prepared(place / name, files, processes, remarks=tuple(remarks))
    shards = None if merge is None else _open_shards(places, fingerprint, merge)
    with writing_folder(prepared.store, _say) as folder:
        if folder is None:
            return prepared
        blocks = None if shards is None else merged(shards, len(files))
        return _write_store(domain, prepared, folder, guard, journal_s, blocks, may_be_empty=shard is not None)


def _open_shards(places: Sequence[Path], fingerprint: str, count: int) -> list[Stored]:
    """Opens the stores of all shards, wherever they are. Raises `MusicaeError` if some aren't there."""
    found, missing = [], []
    for shard in Shard.all_of(count):
        stores = [place / shard.store_name(fingerprint) for place in places]
        store = next((store for store in stores if store.is_dir()), None)
        if store is None:
            missing.append(str(shard))
        else:
            found.append(open_store(store))
    if missing:
        raise MusicaeError(
            f"{len(missing)} of {count} shards are not read yet, or other files were read: {', '.join(missing[:20])}. "
            f"Read each with: musicae prepare ... --shard {missing[0]}."
        )
    return found


def _remote_store(name: str) -> Path | None:
    """A copy of the store in a remote `$MUSICAE_CACHE`; None if there is none."""
    cache = os.environ.get("MUSICAE_CACHE", "")
    if not is_remote(cache) or not exists(url := f"{cache.rstrip('/')}/{name}"):
        return None
    return fetch(url, writable_cache())


def _writable(places: Sequence[Path]) -> tuple[Path, Path | None]:
    """The first place that can be written, and the first one that can't, if that came before."""
    refused: Path | None = None
    for place in places:
        try:
            place.mkdir(parents=True, exist_ok=True)
            probe = partial_path(place / "probe")  # access rights alone don't tell, as for a read-only disk
            probe.touch()
            probe.unlink()
        except OSError:
            refused = refused or place
            continue
        return place, refused
    raise MusicaeError(
        f"no store can be written in {' or in '.join(map(str, places))}; set MUSICAE_CACHE to a folder that can."
    )


def writable_cache() -> Path:
    """`cache_folder()`, or the user's where that can't be written."""
    return _writable([cache_folder(), user_cache_folder()])[0]


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def default_processes(files: int, size_bytes: int) -> int:
    """`$MUSICAE_PROCESSES`, else one for each core this process may use, else 0 where there is little to read.

    Args:
        files: number of files.
        size_bytes: of all files together.
    """
    asked = _from_environment("MUSICAE_PROCESSES")
    if asked is not None:
        if asked < 0 or not asked.is_integer():
            raise MusicaeError(f"MUSICAE_PROCESSES={asked:g}: expected a whole number of processes, 0 for none.")
        return int(asked)
    if files < _MANY_FILES and size_bytes < _MANY_BYTES:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_PROCESSES)


def default_guard() -> Guard:
    """The limits for one file: `$MUSICAE_READ_SECONDS` and `$MUSICAE_READ_GB`, else the defaults of `Guard`."""
    asked = {"seconds": _from_environment("MUSICAE_READ_SECONDS"), "memory_gb": _from_environment("MUSICAE_READ_GB")}
    try:
        return Guard(**{name: number for name, number in asked.items() if number is not None})
    except ValueError as error:
        raise MusicaeError(f"MUSICAE_READ_SECONDS, MUSICAE_READ_GB: {error}") from None


def describe_skipped(
    skipped: Mapping[str, int], damaged: Mapping[str, str], stopped: Mapping[str, int] | None = None
) -> str:
    """What was left out, in words: every reason with its count, the most frequent first."""
    reasons = [f"{count} × {reason}" for reason, count in sorted(skipped.items(), key=lambda row: -row[1])]
    stopped_part = ", ".join(f"{count} {reason}" for reason, count in (stopped or {}).items())
    stopped_part = f" ({stopped_part})" if stopped_part else ""
    reasons += [f"{len(damaged)} damaged file{'s' * (len(damaged) > 1)}{stopped_part}"] if damaged else []
    return "; ".join(reasons) or "nothing"


def cache_folder() -> Path:
    """`$MUSICAE_CACHE` if that is a folder, else `data/cache` of a checkout, else the user's cache folder."""
    if "MUSICAE_CACHE" in os.environ:
        place = os.environ["MUSICAE_CACHE"]
        return user_cache_folder() if is_remote(place) else Path(place)
    checkout = Path(__file__).parents[2]
    if (checkout / "pyproject.toml").is_file() and os.access(checkout / "data", os.W_OK):
        return checkout / "data" / "cache"
    return user_cache_folder()


def user_cache_folder() -> Path:
    """Where the system keeps what programs can make again, such as `~/.cache/musicae`."""
    import pooch

    return Path(pooch.os_cache("musicae"))


def _from_environment(name: str) -> float | None:
    text = os.environ.get(name, "")
    try:
        return float(text) if text else None
    except ValueError:
        raise MusicaeError(f"{name}={text!r} is not a number.") from None


def _fingerprint(domain: Domain, files: list[tuple[str, Path]], states: list[os.stat_result], guard: Guard) -> str:
    listing = [[name, state.st_size, state.st_mtime_ns] for (name, _), state in zip(files, states, strict=True)]
    for row, (_, path) in zip(listing, files, strict=True):
        for other in domain.companion_files(path):
            state = other.stat()
            row += [other.name, state.st_size, state.st_mtime_ns]
    content = [__version__, _FINGERPRINT_VERSION, domain.name, domain.config.model_dump(mode="json"), listing]
    # With other limits, files may be read that were given up before.
    content += [] if guard == Guard() else [asdict(guard)]
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=10).hexdigest()


def _write_store(
    domain: Domain,
    prepared: Prepared,
    folder: Path,
    guard: Guard,
    journal_s: float,
    blocks: Iterable[Block] | None,
    *,
    may_be_empty: bool,
) -> Prepared:
    """Reads into `folder` what an earlier call did not, or copies blocks, and renames it when it is complete."""
    if blocks is not None:  # what is copied in seconds isn't continued but begun anew
        (folder / JOURNAL).unlink(missing_ok=True)
    since, keep = time.perf_counter(), False
    writer = StoreWriter(folder, journal_s)
    files, examples = writer.files, writer.examples
    try:
        with writer:
            if blocks is None:
                _read_into(writer, domain, prepared, guard)
            else:
                for block in blocks:
                    writer.write(block)
            seconds = time.perf_counter() - since
            report = writer.finish()
        if not may_be_empty:
            refuse_if_unusable(report, domain.name, describe_skipped(report.skipped, report.damaged, report.stopped))
        publish(folder, prepared.store)
    except OSError as error:
        keep = writer.worth_keeping
        if error.errno not in NO_SPACE:
            raise
        raise _no_space(writer, prepared) from error
    except MusicaeError:  # the next call would fail in the same way
        raise
    except BaseException:  # mostly Ctrl-C
        keep = writer.worth_keeping
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    return replace(prepared, files_read=writer.files - files, examples_read=writer.examples - examples, seconds=seconds)


def _no_space(writer: StoreWriter, prepared: Prepared) -> MusicaeError:
    share = writer.files / len(prepared.files) if prepared.files else 1.0
    needed = f"about {writer.nbytes * (1 / share - 1) / 2**20 + 1:,.0f} MB" if share else "an unknown number of MB"
    return MusicaeError(
        f"no space is left in {prepared.store.parent} for the store of {len(prepared.files):,} files: {needed} more "
        "are needed. Free space, or set MUSICAE_CACHE to a folder on another disk, and run the same again."
    )


def _read_into(writer: StoreWriter, domain: Domain, prepared: Prepared, guard: Guard) -> None:
    progress = ReadingProgress(len(prepared.files), writer.files)
    with progress, closing(_blocks(domain, prepared, writer.files, guard)) as blocks:
        for block in blocks:
            writer.write(block)
            progress.show(writer.files, writer.examples)


def _blocks(domain: Domain, prepared: Prepared, done: int, guard: Guard) -> Generator[Block, None, None]:
    files = prepared.files[done:]
    if prepared.processes:
        yield from read_in_processes(domain, files, prepared.processes, guard)
    else:
        yield from gather_blocks(domain, read_all(domain, files) if prepared.files else _starters(domain, done))


def _starters(domain: Domain, done: int) -> Iterator[Outcome]:
    """Starter data have no files, and their names don't change: they stand for the content."""
    for name, reading in islice(starter_items(domain), done, None):
        yield name, replace(reading, content=name.encode())


class ReadingProgress:
    """Shows on standard error how many files are read, and how fast.

    Args:
        total: files in all.
        done: files read by an earlier call.
        console: where to draw; standard error by default.
    """

    def __init__(self, total: int, done: int = 0, console: Console | None = None) -> None:
        console = console or Console(stderr=True, force_jupyter=False)
        self._visible, self._drawn = console.is_terminal, False
        self._first, self._since = done, time.monotonic()
        columns = (TextColumn("reading"), BarColumn(30), MofNCompleteColumn(), TextColumn("{task.description}"))
        self._progress = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
        self._bar = self._progress.add_task("", total=total, completed=done)

    def __enter__(self) -> "ReadingProgress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._drawn:  # else it would end a line that was never started
            self._progress.stop()

    def show(self, files: int, examples: int) -> None:
        """Moves the bar to `files` read in all. It is first drawn after a second."""
        passed_s = time.monotonic() - self._since
        if not self._visible or passed_s < _BAR_DELAY_S:
            return
        if not self._drawn:
            self._progress.start()
            self._drawn = True
        speed = f"{(files - self._first) / passed_s:,.0f} files/s, {examples:,} examples"
        self._progress.update(self._bar, completed=files, description=speed)
