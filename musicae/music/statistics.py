"""What is measured of token windows: how alike two batches are, what a model is measured beside, and histograms.

The histograms are those that symbolic music is usually compared by (Yang & Lerch, *On the Evaluation of
Generative Models in Music*, 2020): pitch classes, intervals, durations and onsets in a bar; of drums the
drums struck and the steps struck in a bar. Two of them are compared by the Jensen-Shannon divergence,
0 (the same) to 1 bit (nothing in common).

Two baselines say what scores without a model: always the most frequent token, and every bar a copy of the bar before
it. Melodies hold most of the time and repeat themselves, so an accuracy says little until these stand beside it.
This module knows tokens and no models.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from musicae.capabilities import Statistics
from musicae.music.config import Part
from musicae.music.expression import OFFSETS
from musicae.music.keyboard import KEYS, note_ends, top_line
from musicae.music.tokens import DRUM_PITCHES, FIRST_ONSET, HOLD, LOWEST_PITCH, PITCH_OFFSET
from musicae.precision import in_double
from musicae.spec import TensorSpec

_WIDEST_INTERVAL = 12  # semitones; wider ones count as this wide
_LONGEST = 16  # steps; longer notes count as this long
# Bit p is set where pitch class p is in the scale.
_MAJOR_SCALES = np.array(
    [sum(1 << (tonic + degree) % 12 for degree in (0, 2, 4, 5, 7, 9, 11)) for tonic in range(12)], dtype=np.int64
)


def part_statistics(tokens: np.ndarray, part: Part, bar_steps: int) -> Statistics:
    """Of every instrument; where there are several each name ends with the instrument's.

    Args:
        tokens: `(windows, steps, columns)`, streams first.
        part: whose tokens they are.
        bar_steps: steps in a bar.
    """
    histograms: dict[str, np.ndarray] = {}
    shares: dict[str, np.ndarray] = {}
    for instrument in part.instruments:
        own = tokens[..., instrument.columns].astype(np.int64)
        if instrument.is_keys:
            found = key_statistics(own, bar_steps)
        else:
            found = (drum_statistics if instrument.is_drums else line_statistics)(own[..., 0], bar_steps)
        ending = f"_{instrument.name}" if len(part.instruments) > 1 else ""
        histograms |= {name + ending: counts for name, counts in found.histograms.items()}
        shares |= {name + ending: values for name, values in found.shares.items()}
    return Statistics(histograms, shares)


def line_statistics(tokens: np.ndarray, bar_steps: int) -> Statistics:
    """Of a melody or a bass, `(windows, steps)`.

    Returns:
        Histograms `pitch_class` (12), `interval` (25: -12 to 12 semitones from one onset to the next),
        `duration` (16: 1 to 16 steps, to the next onset, note-off or the window's end) and `density`
        (onsets in a bar). Shares `in_scale` (all onsets in one of the 12 major scales; minor ones have
        the same notes), `silent`, and `rhythm_repeated` (of the bars from the second on, that of an earlier one),
        and `self_similarity` (see there).
    """
    windows, steps = tokens.shape
    row, step = np.nonzero(tokens != HOLD)
    event = tokens[row, step]
    is_last = np.append(row[1:] != row[:-1], np.ones(len(row[:1]), dtype=bool))
    until = np.where(is_last, steps, np.append(step[1:], np.zeros(len(step[:1]), dtype=step.dtype)))
    is_onset = event >= FIRST_ONSET
    row, duration, pitch = row[is_onset], (until - step)[is_onset], event[is_onset] + PITCH_OFFSET
    follows = row[1:] == row[:-1]
    interval = np.clip(np.diff(pitch), -_WIDEST_INTERVAL, _WIDEST_INTERVAL)[follows]
    onsets = tokens >= FIRST_ONSET
    pitch_classes = _counted(row, pitch % 12, windows, 12)
    histograms = {
        "pitch_class": pitch_classes,
        "interval": _counted(row[1:][follows], interval + _WIDEST_INTERVAL, windows, 2 * _WIDEST_INTERVAL + 1),
        "duration": _counted(row, np.minimum(duration, _LONGEST) - 1, windows, _LONGEST),
        "density": _density(onsets, bar_steps),
    }
    sounds = onsets.any(1)
    in_scale = np.where(sounds, in_one_scale(pitch_classes > 0).astype(np.float64), np.nan)
    shares = {"in_scale": in_scale, "silent": np.asarray(~sounds, np.float64)}
    if steps > bar_steps:
        shares["rhythm_repeated"] = repeated_rhythms(onsets, bar_steps)
        shares["self_similarity"] = self_similarity(tokens, bar_steps)
    return Statistics(histograms, shares)


def repeated_rhythms(onsets: np.ndarray, bar_steps: int) -> np.ndarray:
    """Of the bars after the first that have an onset, the share that begins notes on the steps of an earlier bar.

    Args:
        onsets: bool `(windows, steps)`.
        bar_steps: steps in a bar.

    Returns:
        float64 `(windows,)`; NaN where all these bars are silent.
    """
    bars = onsets.reshape(len(onsets), -1, bar_steps)
    rhythm = (bars.astype(np.int64) << np.arange(bar_steps)).sum(2)
    same = np.tril(rhythm[:, :, None] == rhythm[:, None, :], -1).any(2)[:, 1:]
    sounds = (rhythm > 0)[:, 1:]
    counted = sounds.sum(1)
    return np.where(counted > 0, (same & sounds).sum(1) / np.maximum(counted, 1), np.nan)


def self_similarity(tokens: np.ndarray, bar_steps: int) -> np.ndarray:
    """The mean of the self-similarity matrix of bars, without its diagonal: the share of steps that sound alike.

    Args:
        tokens: lines `(windows, steps)`.
        bar_steps: steps in a bar.

    Returns:
        float64 `(windows,)`; a silent line is all alike.
    """
    place = np.maximum.accumulate(np.where(tokens != HOLD, np.arange(tokens.shape[1]), 0), axis=1)
    sounding = np.take_along_axis(tokens, place, axis=1)
    bars = np.where(sounding >= FIRST_ONSET, sounding, HOLD).reshape(len(tokens), -1, bar_steps)
    alike = (bars[:, :, None] == bars[:, None, :]).mean(3)
    later, earlier = np.tril_indices(bars.shape[1], -1)
    return alike[:, later, earlier].mean(1)


def key_statistics(tokens: np.ndarray, bar_steps: int) -> Statistics:
    """Of a keyboard, `(windows, steps, keys)`.

    Returns:
        As `line_statistics`; `interval` is that of the upper line, `density` counts steps where anything is struck.
    """
    windows = len(tokens)
    line = line_statistics(top_line(torch.from_numpy(tokens)).numpy(), bar_steps)
    window, step, key = np.nonzero(tokens >= FIRST_ONSET)
    ends = note_ends(torch.from_numpy(tokens)).numpy()[window, step, key]
    pitch_classes = _counted(window, (key + LOWEST_PITCH) % 12, windows, 12)
    own = {
        "pitch_class": pitch_classes,
        "duration": _counted(window, np.minimum(ends - step, _LONGEST) - 1, windows, _LONGEST),
    }
    in_scale = np.where(line.shares["silent"] > 0, np.nan, in_one_scale(pitch_classes > 0).astype(np.float64))
    return Statistics(line.histograms | own, line.shares | {"in_scale": in_scale})


def drum_statistics(tokens: np.ndarray, bar_steps: int) -> Statistics:
    """Of drums, `(windows, steps)`.

    Returns:
        Histograms `drum` (9: hits of each) and `density` (steps struck in a bar). Share `silent`.
    """
    struck = tokens > 0
    drums = np.stack([((tokens >> bit) & 1).sum(1) for bit in range(len(DRUM_PITCHES))], axis=1)
    histograms = {"drum": drums.astype(np.int64), "density": _density(struck, bar_steps)}
    return Statistics(histograms, {"silent": np.asarray(~struck.any(1), np.float64)})


def in_one_scale(present: np.ndarray) -> np.ndarray:
    """Whether some major scale has all the pitch classes present: bool `(windows, 12)` → `(windows,)`."""
    bits = (present.astype(np.int64) << np.arange(12)).sum(1)
    return ((bits[:, None] & ~_MAJOR_SCALES[None, :]) == 0).any(1)


def joined_statistics(found: Sequence[tuple[np.ndarray, Statistics]], bins: Mapping[str, int]) -> Statistics:
    """Statistics of groups of windows as those of all.

    Args:
        found: the windows' places, int64 `(windows,)`, and their statistics.
        bins: first part of a histogram's name → how many bins it is to have; the others are alike in all groups.
    """
    total = sum(len(rows) for rows, _ in found)
    histograms: dict[str, np.ndarray] = {}
    shares: dict[str, np.ndarray] = {}
    for rows, own in found:
        for name, counts in own.histograms.items():
            size = bins.get(name.partition("_")[0], counts.shape[1])
            histograms.setdefault(name, np.zeros((total, size), np.int64))[rows, : counts.shape[1]] = counts
        for name, values in own.shares.items():
            shares.setdefault(name, np.zeros(total))[rows] = values
    return Statistics(histograms, shares)


def divergence_bits(first: np.ndarray, second: np.ndarray) -> float:
    """Jensen-Shannon divergence of two histograms (Lin, 1991), 0 to 1 bit.

    Args:
        first, second: counts `(bins,)`, not negative; their sums may differ.

    Returns:
        NaN where either histogram is empty.
    """
    if first.shape != second.shape:
        raise ValueError(f"the two histograms differ in shape: {first.shape} and {second.shape}")
    if not first.sum() or not second.sum():
        return float("nan")
    p, q = first / first.sum(), second / second.sum()
    middle = (p + q) / 2
    return max(0.0, float(_relative_entropy_bits(p, middle) + _relative_entropy_bits(q, middle)) / 2)


def _relative_entropy_bits(p: np.ndarray, q: np.ndarray) -> np.floating:
    some = p > 0
    return np.sum(p[some] * np.log2(p[some] / q[some]))


def _density(onsets: np.ndarray, bar_steps: int) -> np.ndarray:
    """How many bars have 0, 1, … onsets: bool `(windows, steps)` → `(windows, bar_steps + 1)`."""
    windows, steps = onsets.shape
    if steps % bar_steps:
        raise ValueError(f"windows of {steps} steps are no whole bars of {bar_steps}")
    bars = onsets.reshape(windows, -1, bar_steps).sum(2)
    return _counted(np.repeat(np.arange(windows), bars.shape[1]), bars.ravel(), windows, bar_steps + 1)


def _counted(row: np.ndarray, place: np.ndarray, windows: int, bins: int) -> np.ndarray:
    """A histogram for each window of what lies in its row."""
    return np.bincount(row * bins + place, minlength=windows * bins).reshape(windows, bins)


def score_batch(part: Part, spec: TensorSpec, estimate: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
    """Scores windows `(batch, steps, columns)` without pads.

    Returns:
        `accuracy`: share of steps with the right token, of a keyboard with all of them right. `onset_f1`: of a line or
        a keyboard, an onset is right where the target has the same pitch at the same step; of drums, a hit is right
        where the target has the same drum at the same step; 1 where neither has any, 0 where only one has. Of several
        instruments each has its own, such as `accuracy_bass`, and those without a name are their means. Of a keyboard
        `note_f1` too, where notes must end at the same step as well. With values `velocity_mae`, and `offset_mae` in
        16ths, over the notes that both have; NaN where there is none.
    """
    names = [f"_{instrument.name}" for instrument in part.instruments]
    scores: dict[str, torch.Tensor] = {}
    for name, instrument in zip(names, part.instruments, strict=True):
        ours, wanted = estimate[..., instrument.columns], target[..., instrument.columns]
        scores[f"accuracy{name}"] = in_double((ours == wanted).all(2)).mean(dim=1)
        f1 = _hit_f1 if instrument.is_drums else _onset_f1
        scores[f"onset_f1{name}"] = f1(ours.squeeze(2), wanted.squeeze(2))
    means = {
        measure: torch.stack([scores[measure + name] for name in names]).mean(dim=0)
        for measure in ("accuracy", "onset_f1")
    }
    played = _value_errors(spec, estimate, target)
    if part.instruments[0].is_keys:
        played["note_f1"] = _note_f1(estimate, target)
    return {name: value.float() for name, value in (means | (scores if len(names) > 1 else {}) | played).items()}


def _value_errors(spec: TensorSpec, estimate: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
    """Mean absolute errors of the values of notes that both have: at the same step, of a line at the same pitch."""
    errors: dict[str, torch.Tensor] = {}
    counts: dict[str, torch.Tensor] = {}
    units = {"velocity": 1, "offset": OFFSETS}
    for place, column in enumerate(spec.values, len(spec.vocabulary)):
        ours, wanted = estimate[..., column.stream], target[..., column.stream]
        both = column.applies(ours) & column.applies(wanted)
        if column.bit is None:
            both = both & (ours == wanted)
        error = in_double((estimate[..., place] - target[..., place]).abs() * both).sum(1) / units[column.name]
        name = f"{column.name}_mae"
        errors[name] = errors.get(name, 0) + error
        counts[name] = counts.get(name, 0) + in_double(both.sum(1))
    return {name: torch.where(counts[name] > 0, error / counts[name], torch.nan) for name, error in errors.items()}


def _onset_f1(estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Of lines `(batch, steps)`, or of keyboards `(batch, steps, keys)`."""
    estimated, wanted = estimate >= FIRST_ONSET, target >= FIRST_ONSET
    return _f1(((estimate == target) & wanted).flatten(1), estimated.flatten(1), wanted.flatten(1))


def _note_f1(estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Of keyboards, `(batch, steps, keys and values)`."""
    ours, theirs = estimate[..., :KEYS], target[..., :KEYS]
    estimated, wanted = ours >= FIRST_ONSET, theirs >= FIRST_ONSET
    right = estimated & wanted & (note_ends(ours) == note_ends(theirs))
    return _f1(right.flatten(1), estimated.flatten(1), wanted.flatten(1))


def _hit_f1(estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Of drums `(batch, steps)`."""
    bits = torch.arange(len(DRUM_PITCHES), device=target.device)
    estimated, wanted = ((tokens[..., None] >> bits) & 1 == 1 for tokens in (estimate, target))
    return _f1((estimated & wanted).flatten(1), estimated.flatten(1), wanted.flatten(1))


def _f1(right: torch.Tensor, estimated: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Bool `(batch, places)` each → `(batch,)`."""
    hits = in_double(right.sum(dim=1))
    total = in_double(estimated.sum(dim=1) + wanted.sum(dim=1))
    return torch.where(total > 0, 2 * hits / total.clamp(min=1), torch.ones_like(hits))


def most_frequent(tokens: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """The most frequent token or value of each column, int64 `(columns,)`; of equally frequent ones the lowest.

    Args:
        tokens: `(windows, steps, columns)`, at least one window; pads don't count.
        sizes: number of tokens or values of each column.
    """
    return np.array([np.bincount(tokens[..., place].ravel())[:size].argmax() for place, size in enumerate(sizes)])


def always(symbols: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The same tokens at every step.

    Args:
        symbols: `(streams,)`.
        tokens: `(windows, steps, streams)`, for shape and type.
    """
    return np.broadcast_to(symbols.astype(tokens.dtype), tokens.shape).copy()


def bar_before(symbols: np.ndarray, tokens: np.ndarray, bar_steps: int) -> np.ndarray:
    """Every bar as the bar before it is; the first bar of a window holds the same tokens throughout.

    Args:
        symbols: `(streams,)`: what the first bar holds.
        tokens: `(windows, steps, streams)`, whole bars.
        bar_steps: steps in a bar.
    """
    if tokens.shape[1] % bar_steps:
        raise ValueError(f"windows of {tokens.shape[1]} steps are no whole bars of {bar_steps}")
    copied = always(symbols, tokens)
    copied[:, bar_steps:] = tokens[:, : tokens.shape[1] - bar_steps]
    return copied
