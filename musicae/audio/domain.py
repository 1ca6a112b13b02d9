"""`AudioDomain`: sound as spectra, complex ones to restore and magnitudes to make sound of a code.

What a tensor is made of is its form's matter (`musicae.audio.representation`). Stored examples are waveforms
(float16), because a spectrum takes eight times the room and noise has to be drawn anew for every batch. A sound is
brought to one loudness as a whole, so that its quiet chunks stay quiet. Nothing here knows networks or files' formats.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Generator, Tensor

from musicae.audio import note_labels, overlap_add
from musicae.audio import stft as signal
from musicae.audio.attributes import sound_attributes
from musicae.audio.augmentation import pitch_steps
from musicae.audio.bandwidth import bandwidth_hz
from musicae.audio.baselines import denoising_baselines
from musicae.audio.config import LEVEL_RMS, AudioConfig, corruption_of, filled_in
from musicae.audio.excerpts import find_excerpt, mono_samples, stored_chunks
from musicae.audio.formats import SOUND_SUFFIXES
from musicae.audio.loudness import (
    MADE_LU,
    SOFTEST_LUFS,
    USUAL_LUFS,
    fade_ends,
    highest_allowed,
    loudness_lufs,
    true_peak,
)
from musicae.audio.metrics import restoration_scores, synthesis_scores
from musicae.audio.noise_profile import noise_profile
from musicae.audio.overlap_add import Framing, Spectra
from musicae.audio.removed import removed
from musicae.audio.report import Report, compare
from musicae.audio.representation import FORMS
from musicae.audio.sound import Sound, checked_rate
from musicae.audio.streaming import MaskFunction, SoundStream, through_stream
from musicae.domain import (
    NO_LABEL,
    Baseline,
    Batch,
    Corruption,
    Domain,
    DomainConfig,
    Reading,
    Savable,
    Selection,
    Window,
)
from musicae.errors import MusicaeError
from musicae.spec import TensorSpec
from musicae.stft import windows


@dataclass(frozen=True)
class SoundFrame:
    """What `AudioDomain.compose` needs to make a sound like the one that an example was selected from.

    Attributes:
        sample_rate_hz: of the sound.
        subtype: how it is stored.
        rms: of the whole sound, as mono at the model's rate.
        peak, true_peak: of the whole sound, see `musicae.audio.sound.Levels`.
        loudness_lufs: of the excerpt, as mono.
        frames: length of the excerpt, at the sound's rate; None for as long as an example.
        name: of the sound.
    """

    sample_rate_hz: int
    subtype: str
    rms: float
    peak: float
    true_peak: float
    loudness_lufs: float
    frames: int | None
    name: str = ""


class AudioDomain(Domain):
    """Sounds of any rate and number of channels; models see them as mono, or channel by channel."""

    name: ClassVar[str] = "audio"
    media: ClassVar[type[Any]] = Sound
    suffixes: ClassVar[tuple[str, ...]] = SOUND_SUFFIXES
    tasks: ClassVar[tuple[str, ...]] = ("reconstruct", "denoise", "upscale")
    unshifted_attributes: ClassVar[tuple[str, ...]] = ("pitch",)  # a model with labels gives any
    Config: ClassVar[type[DomainConfig]] = AudioConfig
    # A spectrum has 65,000 cells a channel: bigger batches leave a CPU waiting for memory.
    training_defaults: ClassVar[dict[str, Any]] = {"batch_size": 8, "evaluate_every": 250, "evaluate_examples": 128}
    progress_metrics: ClassVar[tuple[str, ...]] = ("si_sdr_gain_db", "missing_band_distance_db", "pesq")
    config: AudioConfig

    def __init__(self, config: DomainConfig | None = None) -> None:
        super().__init__(config)
        self.form = FORMS[self.config.representation](self.config)

    @classmethod
    def configure(cls, config: DomainConfig, files: Sequence[Path], task: str = "reconstruct") -> DomainConfig:
        """Fills in the representation by the task, the rate by the files', and instruments by their names."""
        assert isinstance(config, AudioConfig)
        return filled_in(config, files, task)

    @property
    def spec(self) -> TensorSpec:
        spec = self.form.spec
        return replace(spec, condition=(note_labels.NUMBERS, note_labels.CLASSES)) if self.config.labels else spec

    # media objects

    def select(self, item: Sound, *, start_s: float | None = None, **choice: Any) -> Selection:
        """Picks the loudest chunk of a sound, or the one that begins at `start_s` seconds."""
        unknown = [name for name, value in choice.items() if value is not None]
        if unknown:
            raise MusicaeError(
                f"a sound has no {unknown[0]} to choose; only where in it the chunk begins can be chosen."
            )
        rate_hz, chunk = self.config.sample_rate_hz, self.config.chunk_samples
        start = None if start_s is None else round(start_s * rate_hz)
        if start is not None and not 0 <= start < item.duration_s * rate_hz:
            raise MusicaeError(f"start_s={start_s} lies outside of {item.name}, which lasts {item.duration_s:.1f} s.")
        blocks = item.mono().resample(rate_hz).blocks()
        excerpt = find_excerpt((block[:, 0] for block in blocks), chunk, start=start)
        size = len(excerpt.samples)
        # Through two rates and back, rounding could cost a sample; a whole sound keeps its length.
        is_whole = excerpt.start == 0 and size < chunk
        frames = item.frames if is_whole else round(size * item.sample_rate_hz / rate_hz)
        label = f"seconds {excerpt.start / rate_hz:.1f}–{(excerpt.start + size) / rate_hz:.1f}"
        levels, loudness = item.levels, loudness_lufs(excerpt.samples[:, None], rate_hz)
        frame = SoundFrame(
            item.sample_rate_hz, item.subtype, excerpt.rms, levels.peak, levels.true_peak, loudness, frames, item.name
        )
        return Selection(self._stored([excerpt.samples], excerpt.rms), label, frame)

    def windows(self, item: Sound, task: str = "reconstruct") -> Iterator[Window]:
        """Overlapping chunks at the model's rate and level, in order; none of silence. See `musicae.audio.overlap_add`.

        A chunk's channels are a batch, or one example where they share a mask.
        """
        end_hz = self._end_hz(item)

        def window_of(spectra: Spectra) -> Window:
            return Window(Batch(self.form.of_spectrum(spectra.shown, end_hz)), spectra)

        return map(window_of, overlap_add.spectra(item, self._framing(task)))

    def assemble(self, item: Sound, answers: Iterable[tuple[Window, Tensor]], task: str = "reconstruct") -> Sound:
        """The sound that the answers make up: same length, channels and format, for `upscale` the model's rate or more.

        It is lazy: each time it is read the answers are iterated anew.
        """

        def spectrum_of(answered: tuple[Window, Tensor]) -> tuple[Spectra, Tensor]:
            (batch, place), answer = answered
            expected = batch.target.shape
            if answer.shape != expected:
                raise ValueError(f"expected an answer of shape {tuple(expected)}, got {tuple(answer.shape)}")
            return place, self.form.spectrum_of(answer.detach().float().cpu(), place.shown)

        least_rate_hz = self.config.sample_rate_hz if task == "upscale" else 0
        result = overlap_add.assemble(
            item, lambda: map(spectrum_of, answers), self._framing(task), least_rate_hz=least_rate_hz
        )
        if not self.form.fills_band:
            return result
        end_hz, most_hz = self._end_hz(item), self.config.sample_rate_hz / 2
        if end_hz is None:
            return result.with_remarks(
                f"{item.name} goes up to {bandwidth_hz(item):,.0f} Hz already; nothing was filled in"
            )
        return result.with_remarks(f"{item.name} ends at {end_hz:,.0f} Hz; filled in up to {most_hz:,.0f} Hz")

    def compose(self, tensor: Tensor, frame: SoundFrame | None = None) -> Sound:
        """Examples one after the other as a sound, no louder than its source (see `musicae.audio.loudness`).

        Args:
            tensor: `(examples, *spec.shape)`.
            frame: of a selection: the rate, the level, and for one example the length; without it the sound has the
                domain's rate, and what is made of a code is neither loud nor hardly audible.
        """
        waveforms = self._waveforms(tensor, is_final=True)
        rate_hz = self.config.sample_rate_hz
        frames = frame.frames if frame is not None and len(tensor) == 1 else None
        if self.form.is_generated:  # what is made of a code begins and ends anywhere
            if frame is not None and frames is not None:
                waveforms = waveforms[:, : max(1, round(frames * rate_hz / frame.sample_rate_hz))]
            waveforms = np.stack([_faded(row - row.mean(), rate_hz) for row in waveforms])
        sound = Sound(waveforms.reshape(-1), rate_hz)
        if frame is None:
            audible = _not_softer(sound, SOFTEST_LUFS) if self.form.is_generated else sound
            return _bounded(audible, peak=1.0, true_peak=highest_allowed(None), lufs=USUAL_LUFS)
        samples = sound.resample(frame.sample_rate_hz).samples * np.float32(frame.rms / LEVEL_RMS)
        if frames is not None:
            samples = np.pad(samples, (0, max(0, frames - len(samples))))[:frames]
        made = Sound(samples, frame.sample_rate_hz, name=frame.name, subtype=frame.subtype)
        return _bounded(
            made,
            peak=max(1.0, frame.peak),
            true_peak=highest_allowed(frame.true_peak),
            lufs=frame.loudness_lufs + MADE_LU if self.form.is_generated else math.inf,
        )

    def preview(
        self, rows: dict[str, Tensor], frame: SoundFrame | None = None, *, columns: Sequence[str] = ()
    ) -> dict[str, Savable]:
        """Spectrograms, and for several rows a sound of each, "_label.wav": all on one scale, for they are compared."""
        from musicae.plots import spectrograms

        del frame, columns
        pictures = {
            label: list(signal.decibels(self.form.magnitude(batch.detach().cpu())).numpy())
            for label, batch in rows.items()
        }
        rate_hz = self.config.sample_rate_hz
        drawn = spectrograms(pictures, sample_rate_hz=rate_hz, hop_samples=self.config.hop_samples)
        found: dict[str, Savable] = {".png": drawn}
        if len(rows) == 1:
            return found  # what is drawn alone is written as a sound of its own
        waveforms = {label: self._waveforms(batch).reshape(-1, 1) for label, batch in rows.items()}
        most = highest_allowed(None)
        scale = min([1.0, *(most / max(true_peak(waveform), most) for waveform in waveforms.values())])
        for label, waveform in waveforms.items():
            name = re.sub(r"[^\w.-]+", "-", label)
            found[f"_{name}.wav"] = Sound(waveform * np.float32(scale), rate_hz, name=name)
        return found

    # what only sound has

    def noise_profile(self, item: Sound, profile: Sound) -> Callable[[Tensor, Tensor], Tensor]:
        """Holds answers to what is known of the noise; see `musicae.audio.noise_profile`."""
        return noise_profile(item, profile, self._framing())

    def open_stream(self, mask: MaskFunction, *, channels: int, sample_rate_hz: int | None = None) -> SoundStream:
        """A way for blocks of samples through a mask; None: at the model's own rate."""
        own_hz = self.config.sample_rate_hz
        rate_hz = own_hz if sample_rate_hz is None else checked_rate(sample_rate_hz)
        return SoundStream(
            mask, n_fft=self.config.n_fft, mask_rate_hz=own_hz, sample_rate_hz=rate_hz, channels=channels
        )

    def assemble_stream(self, item: Sound, masks: Callable[[], MaskFunction]) -> Sound:
        """What a stream makes of a sound, lazily; `masks` starts a mask without a past, for each reading."""
        return through_stream(
            item, lambda: self.open_stream(masks(), channels=item.channels, sample_rate_hz=item.sample_rate_hz)
        )

    def morph_over_time(self, path: Tensor, frame: SoundFrame | None = None) -> Sound:
        """A sound as long as an example, however short the frame's excerpt was, that goes along a path.

        Args:
            path: `(points, *spec.shape)`.
            frame: as in `compose`.
        """
        whole = None if frame is None else replace(frame, frames=None)
        return self.compose(self.form.morph_over_time(path.detach().cpu()), whole)

    def removed(self, before: Sound, after: Sound) -> Sound:
        """What a restoration took away; see `musicae.audio.removed`."""
        return removed(before, after)

    def report(self, before: Sound, after: Sound, elapsed_s: float) -> Report:
        """What a restoration did, measured; see `musicae.audio.report`."""
        return compare(before, after, elapsed_s)

    def describe_tensors(self) -> dict[str, Any]:
        """The transform between waveforms and tensors."""
        return {
            "sample_rate_hz": self.config.sample_rate_hz,
            "n_fft": self.config.n_fft,
            "hop_samples": self.config.hop_samples,
            **_windows_in_words(self.config.n_fft),
            "scale": "none: what numpy.fft.rfft gives of windowed samples in -1…1",
            "grid": self.form.meaning,
            "level_rms": LEVEL_RMS,
            "level": "a sound is brought to this RMS as a whole before its transform; a live model takes any level",
            **(note_labels.described(self.config.instruments) if self.config.labels else {}),
        }

    # data sets

    def examples(self, item: Sound) -> Reading:
        """Overlapping chunks of a sound, mixed to mono and brought to one level; silent ones are left out."""
        channels = "one channel" if item.channels == 1 else f"{item.channels} channels mixed to one"
        samples = mono_samples(item, self.config.sample_rate_hz)
        part = f"{channels}, {item.sample_rate_hz} Hz, {len(samples) / self.config.sample_rate_hz:.1f} s"
        stored, silent = stored_chunks(samples, self.config.chunk_samples, LEVEL_RMS)
        # A note is called by its name where it begins.
        stored = self._labelled(stored, note_labels.read_label(item.path))
        return Reading(stored, {"silent": silent} if silent else {}, (part,))

    def array_examples(self, array: np.ndarray, labels: Sequence[str] | None = None) -> np.ndarray:
        """Stored examples of sounds `(N, samples)`: floats or whole numbers at the domain's `sample_rate_hz`.

        A long row gives several examples and a silent one none.
        """
        if labels is not None and self.config.labels:
            raise ValueError("sounds are labelled by the names of their files; give files, or leave labels out")
        array = np.asarray(array)
        if array.ndim != 2:
            raise ValueError(f"sounds in an array are (sounds, samples), got the shape {array.shape}")
        rate_hz, none = self.config.sample_rate_hz, self._labelled(np.zeros((0, self.config.chunk_samples), np.float16))
        return np.concatenate([none, *(self.examples(Sound(row, rate_hz)).examples for row in array)])

    def tensor(self, stored: Tensor, generator: Generator | None = None) -> Batch:
        if not self.config.labels:
            return Batch(self.form.to_tensor(stored.float(), generator))
        samples, label = stored.float().split([self.config.chunk_samples, note_labels.NUMBERS], dim=1)
        semitones = None if generator is None else pitch_steps(len(samples), generator)
        target = self.form.to_tensor(samples, generator, semitones)
        return Batch(target, note_labels.condition_of(label, semitones))

    def condition(self, text: str, windows: int | Tensor = 1) -> Tensor:
        """Reads which note is wanted, such as "cello pitch 48 velocity 0.7"; any part may be missing."""
        if not self.config.labels:
            raise MusicaeError("this model takes no labels; train one with --set labels=true.")
        count = windows if isinstance(windows, int) else len(windows)
        return torch.tensor([note_labels.parse_condition(text, self.config.instruments)]).repeat(count, 1)

    def complete_condition(self, condition: Tensor, generator: Generator) -> Tensor:
        """Draws instrument, pitch and velocity where they are not asked for."""
        return note_labels.with_draws(condition, self.config.instruments, generator)

    def labels(self, stored: Tensor) -> dict[str, list[str]]:
        """The instrument of each example (`label`), where it is known."""
        if not self.has_classes:
            return {}
        names = (NO_LABEL, *(instrument.name for instrument in self.config.instruments))
        return {"label": [names[int(number)] for number in stored[:, self.config.chunk_samples].tolist()]}

    @property
    def has_classes(self) -> bool:
        return self.config.labels

    def identity(self, examples: np.ndarray) -> np.ndarray:
        """A hash of the samples; the label does not count."""
        samples = examples[:, : self.config.chunk_samples]
        digests = (hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=8).digest() for row in samples)
        return np.array([int.from_bytes(digest, "little") for digest in digests], dtype=np.uint64)

    def corruption(self, task: str, *, split: str = "train", snr_db: float | None = None) -> Corruption | None:
        """The corruption of a task; None for `reconstruct`.

        Args:
            task: one of `tasks`.
            split: `train`, `validation` or `test`: noise recordings are split by their names. A split that
                too few recordings leave empty uses made noise only. `all`: every recording.
            snr_db: one signal-to-noise ratio for all, for measuring; None draws it from the config's range.

        Raises:
            MusicaeError: a noise folder of the config that isn't there, or holds no sound.
        """
        if task not in self.tasks:
            raise ValueError(f"expected a task of {self.tasks}, got {task!r}")
        return corruption_of(task, self.config, split, snr_db)

    # scores

    def metrics(self, estimate: Tensor, target: Tensor, corrupted: Tensor) -> dict[str, Tensor]:
        if self.form.is_generated:
            waveform = self.form.to_waveform(estimate)
            return synthesis_scores(waveform, self.form.magnitude(estimate), self.form.magnitude(target), self.config)
        return restoration_scores(estimate, target, corrupted, self.config)

    def attributes(self, tensor: Tensor) -> dict[str, Tensor]:
        """Brightness, loudness (beside the sound's own level), pitch, noisiness; see `musicae.audio.attributes`."""
        return sound_attributes(self.form.magnitude(tensor), sample_rate_hz=self.config.sample_rate_hz)

    def baselines(self, task: str, examples: Tensor | None = None) -> dict[str, Baseline]:
        """Of noisy sound `musicae.audio.baselines`; of sound made from magnitudes, what is made of the true ones."""
        del examples
        if task == "denoise":
            return denoising_baselines(self.config.sample_rate_hz)
        return {"copy_synthesis": lambda corrupted, clean: clean} if self.form.is_generated else {}

    @property
    def primary_metric(self) -> str | None:
        return None if self.form.is_generated else "si_sdr_out_db"

    @property
    def example_duration_s(self) -> float:
        return self.config.chunk_samples / self.config.sample_rate_hz

    def _end_hz(self, item: Sound) -> float | None:
        """Where a sound ends whose top is to be filled in; None where it lacks next to nothing."""
        if not self.form.fills_band:
            return None
        end_hz = bandwidth_hz(item)
        return None if end_hz >= _NEARLY_ALL * self.config.sample_rate_hz / 2 else end_hz

    def _framing(self, task: str = "reconstruct") -> Framing:
        framing = Framing.of_examples(
            sample_rate_hz=self.config.sample_rate_hz,
            n_fft=self.config.n_fft,
            chunk_samples=self.config.chunk_samples,
            level_rms=LEVEL_RMS,
            is_generated=self.form.is_generated,
        )
        return framing if task == "reconstruct" else framing.for_restoring(shares_mask=task == "denoise")

    def _waveforms(self, tensor: Tensor, *, is_final: bool = False) -> np.ndarray:
        """`(examples, samples)`, at the stored level."""
        self.spec.check(tuple(tensor.shape))
        waveforms: np.ndarray = self.form.to_waveform(tensor.detach().cpu(), is_final=is_final).numpy()
        return waveforms

    def _stored(self, chunks: Sequence[np.ndarray], rms: float) -> np.ndarray:
        """Chunks of a sound with this RMS → `(chunks, samples)` float16, short ones padded with silence."""
        stored = np.zeros((len(chunks), self.config.chunk_samples), np.float16)
        for row, chunk in zip(stored, chunks, strict=True):
            row[: len(chunk)] = chunk * (LEVEL_RMS / rms if rms > 0 else 0.0)
        return self._labelled(stored)

    def _labelled(self, stored: np.ndarray, label: note_labels.NoteLabel | None = None) -> np.ndarray:
        """With the label of the first example, where a model takes labels."""
        if not self.config.labels:
            return stored
        numbers = np.zeros((len(stored), note_labels.NUMBERS), np.float16)
        numbers[:1] = note_labels.stored_label(label, self.config.instruments)
        return np.concatenate([stored, numbers], axis=1)


_SILENCE_LUFS = -70.0  # the absolute gate of ITU-R BS.1770
_NEARLY_ALL = 0.9
"""Of the model's band: a sound at 44.1 kHz that reaches so high has all that can be heard."""


def _windows_in_words(n_fft: int) -> dict[str, str]:
    """The windows of the transform, and where its frames stand."""
    pair = windows(n_fft)
    if pair.reach == n_fft:
        where = "hann, periodic; frames are centred on samples 0, hop, 2 hop, …; the ends are mirrored"
        return {"window": where}
    rise, fall = n_fft - pair.reach // 2, pair.reach // 2
    return {
        "window": f"sin(pi n / {2 * rise}) for n < {rise}, then cos(pi (n - {rise}) / {2 * fall}); frame 0 begins "
        f"{pair.before} samples before sample 0; before and after the sound is silence",
        "synthesis_window": f"of the last {pair.reach} samples, periodic hann of {pair.reach} divided by the window; "
        "0 before",
    }


def _faded(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """A whole `(samples,)` with faded ends."""
    (faded,) = fade_ends([samples[:, None]], len(samples), sample_rate_hz)
    return faded[:, 0]


def _not_softer(sound: Sound, lufs: float) -> Sound:
    """The sound, turned up as a whole where it is softer than that; silence stays, and so does what peaks allow."""
    ours = loudness_lufs(sound.samples.reshape(-1, sound.channels), sound.sample_rate_hz)
    if not _SILENCE_LUFS < ours < lufs:
        return sound
    gain = min(10 ** ((lufs - ours) / 20), highest_allowed(None) / sound.levels.true_peak)
    return Sound(
        sound.samples * np.float32(max(1.0, gain)), sound.sample_rate_hz, name=sound.name, subtype=sound.subtype
    )


def _bounded(sound: Sound, *, peak: float, true_peak: float, lufs: float) -> Sound:
    """The sound, turned down as a whole where it is louder than that."""
    levels = sound.levels
    excess = max(levels.peak / peak, levels.true_peak / true_peak if true_peak > 0 else 0.0)
    if (
        lufs < math.inf
        and (ours := loudness_lufs(sound.samples.reshape(-1, sound.channels), sound.sample_rate_hz)) > lufs
    ):
        excess = max(excess, 10 ** ((ours - lufs) / 20))
    if excess <= 1:
        return sound
    return Sound(sound.samples / np.float32(excess), sound.sample_rate_hz, name=sound.name, subtype=sound.subtype)
