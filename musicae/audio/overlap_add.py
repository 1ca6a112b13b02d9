"""Puts a whole sound through a model of spectra, chunk by chunk, in constant memory and without seams.

`spectra` streams a sound at the model's rate and level and cuts it into overlapping chunks; `assemble` takes what a
model made of them and adds it up: the edges of a chunk, where the model saw too little, are thrown away and what lies
between is cross-faded, so that weights add up to one everywhere. The first chunk begins, and the last one ends, with
the sound itself, as if it had been one chunk. A network of finite reach then gives what it would give for the whole
sound at once, if its grid falls alike: a U-Net that halves the time four times stands on every sixteenth frame, and
`Framing.for_restoring` steps by a multiple of `ALIGNED_FRAMES`. What overlaps is computed twice, so the overlap is no
longer than it has to be: chunk by chunk and whole differ by -58 dB or less (see experiments/sound_choices.py).

All channels are at one level, so that the balance between them stays. Each goes through by itself, or all share one
mask: channel by channel, a model takes a little more from the left here and from the right there, and voices wander.
What the model's rate can't hold (above its Nyquist frequency) is added back, turned down by as much as the model turned
down the upper octave of its input. With a model that changes nothing, the sound comes back as it was. Nothing here
knows files, settings or networks.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from musicae.audio import stft as signal
from musicae.audio.loudness import MADE_LU, fade_ends, highest_allowed, limit, loudness_lufs
from musicae.audio.sound import Resampler, Sound, resample_blocks
from musicae.errors import MusicaeError

ALIGNED_FRAMES = 64
_RESTORED_S = 11.0
_OVERLAP_FRAMES = 4 * ALIGNED_FRAMES - 1
_FADE_FRAMES = 7
_ROWS_AT_ONCE = 8
# Energy of a cell below which it is no use to ask by how much it was turned down.
_SILENT_CELL = 1e-9
_SILENT_RMS = 1e-9
_SMALLEST = 1e-12
_PEAKS_FROM = 0.99


@dataclass(frozen=True)
class Framing:
    """How sound is cut for a model.

    Attributes:
        sample_rate_hz: the model's.
        n_fft: window of its spectra, in samples.
        chunk_samples: length of a chunk, a multiple of the hop.
        level_rms: the RMS that a sound is brought to.
        edge_samples: thrown away at either end of a chunk; by default a sixteenth of it.
        fade_samples: of the cross-fade between two chunks; by default a sixteenth of a chunk.
        least_samples: a shorter end of a sound is filled up to this; by default to a whole chunk.
        shares_mask: whether the channels of a sound are turned down as one.
        is_generated: whether a model makes the sound anew, so that its level is held to the source's chunk by chunk,
            and its ends are faded.
    """

    sample_rate_hz: int
    n_fft: int
    chunk_samples: int
    level_rms: float
    edge_samples: int
    fade_samples: int
    least_samples: int
    shares_mask: bool = False
    is_generated: bool = False

    @classmethod
    def of_examples(
        cls, *, sample_rate_hz: int, n_fft: int, chunk_samples: int, level_rms: float, is_generated: bool = False
    ) -> "Framing":
        """For a model that takes chunks of one length only."""
        edge = chunk_samples // 16
        return cls(
            sample_rate_hz, n_fft, chunk_samples, level_rms, edge, edge, chunk_samples, is_generated=is_generated
        )

    def for_restoring(self, *, shares_mask: bool) -> "Framing":
        """For a model that takes chunks of any length: about eleven seconds; longer ones take more memory."""
        hop = self.n_fft // 4
        frames = ALIGNED_FRAMES * max(9, round(_RESTORED_S * self.sample_rate_hz / hop / ALIGNED_FRAMES))
        return replace(
            self,
            chunk_samples=(frames - 1) * hop,
            edge_samples=(_OVERLAP_FRAMES - _FADE_FRAMES) // 2 * hop,
            fade_samples=_FADE_FRAMES * hop,
            shares_mask=shares_mask,
        )

    @property
    def step_samples(self) -> int:
        """From one chunk to the next."""
        return self.chunk_samples - 2 * self.edge_samples - self.fade_samples


class Chunk(NamedTuple):
    """A part of a sound.

    Attributes:
        samples: `(frames, channels)`.
        frames: how many of them are the sound's: the end of a short last chunk is filled up.
        is_last: whether the sound ends with it.
    """

    samples: np.ndarray
    frames: int
    is_last: bool


class Spectra(NamedTuple):
    """Some channels of a chunk as a model is shown them.

    Attributes:
        shown: complex, `(rows, 2, frequency, time)`: a row a channel, or one for all where they share a mask.
        spectrum: of the channels, `(channels, 2, frequency, time)`.
        samples: of the channels, `(channels, frames)`.
        chunk: that they belong to.
        ends_chunk: whether they are the last of its channels.
    """

    shown: Tensor
    spectrum: Tensor
    samples: Tensor
    chunk: Chunk
    ends_chunk: bool


def cut(blocks: Iterable[np.ndarray], framing: Framing) -> Iterator[Chunk]:
    """Cuts a stream of `(frames, channels)` into overlapping chunks, in the memory of two."""
    waiting: np.ndarray | None = None
    for block in blocks:
        waiting = block if waiting is None else np.concatenate((waiting, block))
        # One frame more than a chunk: then it is not the last one, whose end must not fade.
        while len(waiting) > framing.chunk_samples:
            yield Chunk(waiting[: framing.chunk_samples], framing.chunk_samples, is_last=False)
            waiting = waiting[framing.step_samples :]
    if waiting is not None and len(waiting):
        # A mirror, not silence: the model judges noise by what is around it.
        missing = max(0, framing.least_samples - len(waiting))
        yield Chunk(np.pad(waiting, ((0, missing), (0, 0)), mode="symmetric"), len(waiting), is_last=True)


class OverlapAdd:
    """Joins what became of chunks, `(frames, columns)` each, in the memory of one."""

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._unfinished: np.ndarray | None = None

    def add(self, mapped: np.ndarray, chunk: Chunk) -> np.ndarray:
        """Takes what became of the next chunk and gives the frames that are finished."""
        edge, fade, step = self._framing.edge_samples, self._framing.fade_samples, self._framing.step_samples
        weight = np.ones((len(mapped), 1), np.float32)
        # A step apart, the rise of one chunk and the mirrored fall of another add up to one.
        rise = np.concatenate((np.zeros(edge), (np.arange(fade) + 0.5) / fade)).astype(np.float32)[:, None]
        if self._unfinished is not None:
            weight[: edge + fade] = rise
        if not chunk.is_last:
            weight[-edge - fade :] = rise[::-1]
        total: np.ndarray = mapped * weight
        if self._unfinished is not None:
            total[: len(self._unfinished)] += self._unfinished
        self._unfinished = total[step:]
        return total[: chunk.frames if chunk.is_last else step]


def spectra(sound: Sound, framing: Framing) -> Iterator[Spectra]:
    """Streams a sound as a model is shown it: its rate, its level, chunk by chunk. Nothing comes of silence.

    Raises:
        DamagedFileError: a file that cannot be read to its end.
    """
    gain = gain_to_level(sound, framing.level_rms)
    if gain == 0:
        return
    blocks = (block * np.float32(gain) for block in sound.blocks())
    for chunk in cut(resample_blocks(blocks, sound.sample_rate_hz, framing.sample_rate_hz), framing):
        yield from _spectra_of(chunk, framing)


def _spectra_of(chunk: Chunk, framing: Framing) -> Iterator[Spectra]:
    """The spectra of a chunk; nothing of them is left in memory when the next chunk is cut."""
    samples = torch.from_numpy(chunk.samples.T.copy())  # (channels, frames)
    if framing.shares_mask and len(samples) > 1:
        spectrum = signal.stft(samples, n_fft=framing.n_fft)
        yield Spectra(joint_spectrum(spectrum), spectrum, samples, chunk, ends_chunk=True)
        return
    # Few rows a call: more at once were no faster on a CPU and take more memory.
    parts = samples.split(_ROWS_AT_ONCE)
    for number, part in enumerate(parts):
        spectrum = signal.stft(part, n_fft=framing.n_fft)
        yield Spectra(spectrum, spectrum, part, chunk, ends_chunk=number == len(parts) - 1)


def assemble(
    sound: Sound, start: Callable[[], Iterable[tuple[Spectra, Tensor]]], framing: Framing, *, least_rate_hz: int = 0
) -> Sound:
    """The sound that a model's answers make up: same length, rate, channels and format, computed when it is read.

    Nothing in it is louder than the source's true peak and `loudness.HEADROOM_DB`.

    Args:
        sound: that `spectra` showed.
        start: starts the answers anew: each `Spectra` with its complex spectrum, shaped as `shown`, on the CPU.
        framing: as for `spectra`.
        least_rate_hz: of the result; where the sound's rate is lower, it gets this one.
    """
    rate_hz = max(sound.sample_rate_hz, least_rate_hz)

    def blocks() -> Iterator[np.ndarray]:
        levels = sound.levels
        gain = gain_to_level(sound, framing.level_rms)
        if gain == 0:
            return resample_blocks(sound.blocks(), sound.sample_rate_hz, rate_hz)
        answers = _columns(start(), framing, sound.sample_rate_hz, highest_allowed(levels.true_peak) * gain)
        joined: Iterator[np.ndarray] = (
            part / np.float32(gain) for part in _joined(sound, answers, framing, gain, rate_hz)
        )
        if framing.is_generated:
            joined = fade_ends(joined, frames_at(levels.frames), rate_hz)
        return limit(
            joined,
            true_peak=highest_allowed(levels.true_peak),
            sample_peak=max(1.0, levels.peak),
            sample_rate_hz=rate_hz,
        )

    def frames_at(frames: int) -> int:
        return round(frames * rate_hz / sound.sample_rate_hz)

    return Sound.from_blocks(
        blocks, rate_hz, sound.channels, frames_at(sound.frames), sound.subtype, sound.container,
        name=sound.name, suffix=sound.suffix, remarks=sound.remarks,
    )  # fmt: skip


def gain_to_level(sound: Sound, level_rms: float) -> float:
    """What brings a sound to a level; 0 for silence."""
    return level_rms / sound.rms if sound.rms > _SILENT_RMS else 0.0


def joint_spectrum(spectrum: Tensor) -> Tensor:
    """One spectrum for all channels, `(channels, 2, frequency, time)` → `(1, 2, frequency, time)`.

    Magnitudes are the root mean square over the channels, so that channels of opposite phase don't cancel and a silent
    one lowers it as it lowered the sound's level; the phase of a cell is its loudest channel's.
    """
    loudness = signal.magnitude(spectrum)  # (channels, frequency, time)
    strongest, which = loudness.max(0, keepdim=True)
    cells = spectrum.gather(0, which[:, None].expand(1, *spectrum.shape[1:]))
    together = loudness.square().mean(0, keepdim=True).sqrt()
    return cells * (together / strongest.clamp_min(_SMALLEST))[:, None]


def masked_alike(spectrum: Tensor, joint: Tensor, estimate: Tensor) -> Tensor:
    """Applies to every channel the mask by which an estimate differs from the joint spectrum.

    Args:
        spectrum: `(channels, 2, frequency, time)`.
        joint: `(1, 2, frequency, time)`, of the channels.
        estimate: the same shape: what a model made of `joint`.

    Returns:
        `(channels, 2, frequency, time)`; nothing becomes louder.
    """
    mask = signal.magnitude(estimate) / signal.magnitude(joint).clamp_min(_SMALLEST)
    return spectrum * mask.clamp(0.0, 1.0)[:, None]


def upper_octave(n_fft: int, *, model_rate_hz: int, source_rate_hz: int) -> slice:
    """The bins of the octave below what a source holds at the model's rate."""
    highest = round(n_fft // 2 * min(1.0, source_rate_hz / model_rate_hz))
    return slice(highest // 2, highest + 1)


def with_upper_band(result: np.ndarray, given: np.ndarray, removed: np.ndarray, source: np.ndarray) -> np.ndarray:
    """A model's result with what its rate cannot hold, turned down as the upper octave of what it was given.

    Args:
        result: of the model, at the source's rate, float `(frames, channels)`.
        given: what the model was given, at the source's rate, same shape.
        removed: share of the upper octave's amplitude that is gone, 0…1; the same shape or one column.
        source: as it was, same shape.
    """
    joined: np.ndarray = result + (1.0 - removed) * (source - given)
    return joined


def _columns(
    answers: Iterable[tuple[Spectra, Tensor]], framing: Framing, source_rate_hz: int, most: float
) -> Iterator[np.ndarray]:
    """Finished frames at the model's rate, three columns a channel.

    They are the result, what it came from, and the part of the upper octave that the model removed (0: nothing, so
    that a resampler's silence at either end removes nothing).
    """
    octave = upper_octave(framing.n_fft, model_rate_hz=framing.sample_rate_hz, source_rate_hz=source_rate_hz)
    adder, waiting = OverlapAdd(framing), list[Tensor]()
    for part, answer in answers:
        waiting.append(_column_triples(part, answer, octave))
        chunk, ends_chunk = part.chunk, part.ends_chunk
        del part, answer  # or they would be in memory beside those of the next chunk
        if ends_chunk:
            mapped, waiting = torch.cat(waiting), []
            if framing.is_generated:
                mapped[:, 0] = _held(mapped[:, 0], mapped[:, 1], most, framing.sample_rate_hz)
            yield adder.add(mapped.permute(2, 1, 0).flatten(1).numpy(), chunk)
            del mapped


def _column_triples(part: Spectra, answer: Tensor, octave: slice) -> Tensor:
    """The columns of some channels, `(channels, 3, frames)`; see `_columns`."""
    estimate = answer.detach().cpu().float()
    if estimate.shape != part.shown.shape:
        raise ValueError(f"expected a result of shape {tuple(part.shown.shape)}, got {tuple(estimate.shape)}")
    if not estimate.isfinite().all():
        raise MusicaeError("the model's result holds values that are not finite; train it again or use another.")
    samples = part.samples.shape[1]
    is_joint = len(estimate) < len(part.spectrum)
    # Channel by channel, which takes less memory and no more time.
    result = torch.cat(
        [
            signal.inverse_stft(masked_alike(one, part.shown, estimate) if is_joint else one, samples=samples)
            for one in (part.spectrum if is_joint else estimate).split(1)
        ]
    )
    removed = _removed(part.shown, estimate, samples, octave).expand_as(result)
    return torch.stack((result, part.samples, removed), dim=1)


def _held(made: Tensor, source: Tensor, most: float, sample_rate_hz: int) -> Tensor:
    """What a model made of a chunk, `(channels, frames)`, no louder than the source; without a constant part."""
    made = made - made.mean(1, keepdim=True)
    # Turned down as a whole but for short peaks, which the limiter takes.
    largest = float(np.quantile(made.abs().numpy(), _PEAKS_FROM))
    ours, theirs = (loudness_lufs(part.T.numpy(), sample_rate_hz) for part in (made, source))
    louder = 10 ** ((theirs + MADE_LU - ours) / 20) if ours > theirs + MADE_LU else 1.0
    return made * min(louder, most / max(largest, _SMALLEST))


def _removed(spectrum: Tensor, estimate: Tensor, samples: int, octave: slice) -> Tensor:
    """The part of the octave's amplitude that is gone, for each sample: `(rows, samples)` in 0…1."""
    energies = [part[:, :, octave].pow(2).sum(1).mean(1) for part in (estimate, spectrum)]
    smooth = [F.avg_pool1d(energy[:, None], 3, 1, 1, count_include_pad=False) for energy in energies]
    kept = ((smooth[0] + _SILENT_CELL) / (smooth[1] + _SILENT_CELL)).sqrt().clamp_max(1.0)  # (rows, 1, time)
    # Frames stand on samples 0, hop, …, samples: the last one is just behind the chunk.
    return F.interpolate(1.0 - kept, size=samples + 1, mode="linear", align_corners=True)[:, 0, :-1]


def _joined(
    sound: Sound, columns: Iterator[np.ndarray], framing: Framing, gain: float, rate_hz: int
) -> Iterator[np.ndarray]:
    """Columns at the model's rate → the result at `rate_hz` and the model's level, with what lies above its band."""
    scaled = (block * np.float32(gain) for block in sound.blocks())
    source = resample_blocks(scaled, sound.sample_rate_hz, rate_hz)
    pending = np.zeros((0, sound.channels), np.float32)  # source frames whose result is not there yet
    up = Resampler(framing.sample_rate_hz, rate_hz, 3 * sound.channels)
    for part in columns:
        ready = up.push(part)
        while len(pending) < len(ready) and (block := next(source, None)) is not None:
            pending = np.concatenate((pending, block))
        yield _with_source(ready, pending)
        pending = pending[len(ready) :]
    ready = up.push(np.zeros((0, 3 * sound.channels), np.float32), last=True)
    pending = np.concatenate((pending, *source))
    # Between two rates, rounding can cost a frame: the last one is repeated.
    missing = max(0, len(pending) - len(ready))
    yield _with_source(np.pad(ready, ((0, missing), (0, 0)), mode="edge" if len(ready) else "constant"), pending)


def _with_source(ready: np.ndarray, pending: np.ndarray) -> np.ndarray:
    frames, channels = min(len(pending), len(ready)), pending.shape[1]
    result, given, removed = (ready[:frames, part * channels : (part + 1) * channels] for part in range(3))
    return with_upper_band(result, given, removed, pending[:frames])
