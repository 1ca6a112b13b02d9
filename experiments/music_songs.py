"""What happens to people's own files: which of them a model reads, what is kept of them, what a change leaves alone."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from held_out import held_out
from stored import trained_model

from musicae.data.dataset import DataSet, load_dataset, split_of_run, unseen
from musicae.data.files import find_files
from musicae.domain import Batch
from musicae.errors import MusicaeError
from musicae.evaluation.evaluate import evaluate
from musicae.inference.shift import shifted
from musicae.music.domain import MusicDomain
from musicae.music.midi import EventTrack, Notes, read_events
from musicae.music.piece import Piece
from musicae.music.tokens import HIGHEST_PITCH, LOWEST_PITCH
from musicae.trained import TrainedModel

MODEL = "melody-2bar"
DATA = Path(__file__).resolve().parent.parent / "data"

# Time signatures

READ = ("nottingham", "openscore_lieder", "openewld")
OUTSIDE = "nottingham"
_MOST_WINDOWS = 5000  # of a time signature


def signatures(sets: Path, runs: Path) -> dict[str, Any]:
    """Files that give the melody model a window; and its scores in each time signature, held out and outside.

    Returns:
        `files`: set → files, and those with a window. `outside` and `held_out`: time signature → scores, and for
        `held_out` `mean`: their means, weighted as the time signatures are in the test split.
    """
    trained = trained_model(runs, MODEL)
    files = {}
    for name in READ:
        # Nottingham has a folder of the chords of its tunes, without the tunes.
        found = [path for _, path in find_files(trained.domain, [sets / name]) if path.parent.name != "chords"]
        files[name] = {"files": len(found), "with_windows": sum(_gives_windows(trained, path) for path in found)}
    domain, split_by = trained.domain, split_of_run(trained.manifest.data)
    outside = load_dataset(domain, [sets / OUTSIDE], split_by=split_by).all_for_testing()
    books = load_dataset(domain, [sets / name for name in trained.manifest.data["sets"]], split_by=split_by)
    own = by_signature(trained, held_out(trained, MODEL, sets), "test")
    counts = {name: len(rows) for name, rows in _rows(trained, books, unseen(domain, books, "test")).items()}
    weights = {name: counts[name] / sum(counts.values()) for name in own}
    own["mean"] = {
        key: sum(weights[name] * own[name][key] for name in weights) for key in ("accuracy_free_running", "kl_bits")
    }
    return {"files": files, "outside": by_signature(trained, outside, "all"), "held_out": own, "test_windows": counts}


def by_signature(trained: TrainedModel, dataset: DataSet, split: str) -> dict[str, dict[str, float]]:
    """Scores in each time signature that there is."""
    found = {}
    for name, rows in _rows(trained, dataset, dataset.splits[split]).items():
        one = replace(dataset, splits={"train": dataset.splits["train"], split: rows})
        found[name] = evaluate(trained, one, split=split, limit=_MOST_WINDOWS)
    return found


def _rows(trained: TrainedModel, dataset: DataSet, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Those of some rows that are in each time signature."""
    assert isinstance(trained.domain, MusicDomain)
    number = np.asarray(dataset.examples[:, 0, -1])[rows]
    names = [signature.name for signature in trained.domain.config.signatures]
    return {name: rows[number == place] for place, name in enumerate(names) if (number == place).any()}


def _gives_windows(trained: TrainedModel, path: Path) -> bool:
    try:
        return len(trained.domain.read(path).examples) > 0
    except MusicaeError:
        return False


# Register

SHIFTS = range(-36, 37, 6)


def transposed(sets: Path, runs: Path) -> dict[str, Any]:
    """Share of the notes of the starter tunes that a reconstruction keeps, whole tunes moved by so many semitones.

    Tunes that would leave A0-C8 are left out.
    """
    del sets
    trained = trained_model(runs, MODEL)
    found: dict[str, dict[str, float]] = {}
    for name in ("a", "b"):
        piece = Piece.open(DATA / f"{name}.mid")
        for semitones in SHIFTS:
            moved = _moved(piece, semitones)
            if moved is not None:
                found.setdefault(name, {})[f"{semitones:+d}"] = _kept(moved, trained.reconstruct(moved))
    return found


def _moved(piece: Piece, semitones: int) -> Piece | None:
    notes = {track.index: piece.notes(track.index) for track in piece.tracks if track.notes and not track.is_drum}
    moved = {index: own._replace(pitch=own.pitch + semitones) for index, own in notes.items()}
    if any(own.pitch.min() < LOWEST_PITCH or own.pitch.max() > HIGHEST_PITCH for own in moved.values()):
        return None
    return piece.replace(moved)


def _kept(before: Piece, after: Piece) -> float:
    """Share of notes with the same onset and pitch."""
    old, new = (
        Counter((tick, pitch) for track in piece.tracks for tick, pitch in _onsets(piece.notes(track.index)))
        for piece in (before, after)
    )
    return (old & new).total() / old.total()


def _onsets(notes: Notes) -> Iterator[tuple[int, int]]:
    return zip(notes.start.tolist(), notes.pitch.tolist(), strict=True)


# Shifts

SHIFTED = {"density": 1.0, "syncopation": 1.0, "regularity": 1.0, "average_interval": 1.0, "range": 1.0}
SHIFTED["diatonicity"] = -1.0
_LARGEST = {"density": 4.0, "syncopation": 1.0, "regularity": 1.0, "diatonicity": 1.0}
_WINDOWS = 300
_TIED = 0.5  # correlation from which data tie two attributes


def shifts(sets: Path, runs: Path, *, split: str = "test", windows: int = _WINDOWS) -> dict[str, Any]:
    """What `shift` by one standard deviation does to held-out windows that have so much room.

    Returns:
        For each attribute the windows, `notes_kept`, the share wholly in key after, reconstructed and before, and the
        mean change of every attribute in standard deviations (`moved`), of the others also the mean size (`size`);
        and under `correlation` how the data tie them.
    """
    trained = trained_model(runs, MODEL)
    pipeline, domain, vectors = trained.pipeline, trained.domain, trained.attribute_vectors
    assert vectors is not None
    dataset = held_out(trained, MODEL, sets)
    kept = unseen(domain, dataset, split)
    rows = kept[np.unique(np.linspace(0, len(kept) - 1, windows).round().astype(int))]
    batch = domain.tensor(torch.from_numpy(np.array(dataset.examples[rows])))
    names = list(vectors.info)
    deviation = torch.tensor([vectors.info[name].deviation for name in names]).double()

    def measured(tensor: torch.Tensor) -> torch.Tensor:
        values = domain.attributes(tensor)  # type: ignore[attr-defined]
        return torch.stack([values[name].double() for name in names], 1) / deviation

    before, again = measured(batch.target), measured(pipeline.reconstruct(batch).cpu())
    found: dict[str, Any] = {}
    for attribute, amount in SHIFTED.items():
        place = names.index(attribute)
        most = _LARGEST.get(attribute, float("inf")) / float(deviation[place])
        there = before[:, place] + amount
        room = ((there >= 0) & (there <= most)).nonzero()[:, 0]
        if not len(room):
            continue
        own = Batch(batch.target[room], None if batch.condition is None else batch.condition[room])
        result = shifted(pipeline, own, pipeline.encode(own), vectors, attribute, amount).cpu()
        after = measured(result)
        change = after - before[room]
        found[attribute] = {
            "amount": amount,
            "windows": len(room),
            "notes_kept": float(domain.kept(result, own.target, "notes").mean()),  # type: ignore[attr-defined]
            "in_key": _in_key(after, names, deviation),
            "in_key_reconstructed": _in_key(again[room], names, deviation),
            "in_key_before": _in_key(before[room], names, deviation),
            "moved": dict(zip(names, change.mean(0).tolist(), strict=True)),
            "size": dict(zip(names, change.abs().mean(0).tolist(), strict=True)),
        }
    ties = torch.corrcoef(before.T)
    found["correlation"] = {
        f"{one} and {names[other]}": float(ties[index, other])
        for index, one in enumerate(names)
        for other in range(index + 1, len(names))
    }
    return found


def _in_key(values: torch.Tensor, names: list[str], deviation: torch.Tensor) -> float:
    place = names.index("diatonicity")
    return float((values[:, place] * deviation[place] > 1 - 1e-9).double().mean())


# Into the song

SONGS = {"pop909": 100, "piano_performance/piano-midi": 60, "openscore_lieder": 40}


def songs(sets: Path, runs: Path) -> dict[str, Any]:
    """Whether events outside the addressed bars and the addressed part are as they were, in real songs."""
    trained = trained_model(runs, MODEL)
    equal = tried = changed = 0
    different: list[str] = []
    refused: Counter[str] = Counter()
    for folder, count in SONGS.items():
        paths = [path for _, path in find_files(trained.domain, [sets / folder])]
        left = count
        for path in paths[:: max(1, len(paths) // (2 * count))]:
            if not left:
                break
            try:
                piece = Piece.open(path)
                first = max(1, piece.bars // 3)
                last = min(piece.bars, first + 3)
                result = trained.shift(piece.with_bars(first, last), "density", 1.0)
            except MusicaeError as error:
                refused[str(error).rpartition(":")[2].strip()[:60]] += 1
                continue
            left -= 1
            tried += 1
            # A note that is played a hair before a bar belongs to it, as its 16th does.
            half = piece.ticks_per_quarter // 8
            span = (piece.bar_tick(first) - half, piece.bar_tick(last + 1) - half)
            is_equal, is_changed = _compared(piece, result, span, _part_of(trained, piece))
            equal += is_equal
            changed += is_changed
            if not is_equal:
                different.append(str(path.relative_to(sets)))
    return {"songs": tried, "equal": equal, "changed": changed, "different": different[:20], "refused": dict(refused)}


def _part_of(trained: TrainedModel, piece: Piece) -> set[tuple[int, int]]:
    """Chunk and channel of the tracks that the model reads."""
    solo = trained.domain.solo(piece)  # type: ignore[attr-defined]
    return {solo.place(track.index)[:2] for track in solo.tracks if track.notes}


def _compared(before: Piece, after: Piece, span: tuple[int, int], part: set[tuple[int, int]]) -> tuple[bool, bool]:
    """Whether all outside of some bars of a part is equal, and whether anything inside is not."""
    files = [read_events(piece.to_bytes(), "song").closed() for piece in (before, after)]
    outside, inside = zip(*(_divided(file.tracks, span, part) for file in files), strict=True)
    return outside[0] == outside[1], inside[0] != inside[1]


def _divided(
    chunks: tuple[EventTrack, ...], span: tuple[int, int], part: set[tuple[int, int]]
) -> tuple[list[Any], list[Any]]:
    """All events outside of the span or the part, notes as one event, and those inside.

    Of a note of the part that is held into the span, its end is inside.
    """
    outside: list[Any] = []
    inside: list[Any] = []
    for number, chunk in enumerate(chunks):
        notes = chunk.notes
        is_note = (chunk.status & 0xE0) == 0x80
        outside.append(
            [(tick, message) for tick, message, note in zip(chunk.ticks.tolist(), chunk.messages, is_note, strict=True)
             if not note]
        )  # fmt: skip
        start, end = chunk.ticks[notes.on], chunk.ticks[notes.off]
        rows = zip(start.tolist(), end.tolist(), notes.channel.tolist(), notes.pitch.tolist(), notes.velocity.tolist(),
                   strict=True)  # fmt: skip
        for row in sorted(rows):
            is_part = (number, row[2]) in part
            is_inside = is_part and span[0] <= row[0] < span[1]
            if is_part and row[0] < span[0] < row[1]:
                row = (row[0], span[0], *row[2:])
            (inside if is_inside else outside).append((number, *row))
    return outside, inside
