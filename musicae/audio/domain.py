"""Sound as spectra, complex ones to restore and magnitudes to make sound of a code, some seconds at a time.

What a tensor is made of is its form's matter (`audio_forms`). Stored examples are waveforms (float16), because a
spectrum takes eight times the room and noise has to be drawn anew for every batch. A file is brought to one
loudness as a whole, so that its quiet chunks stay quiet. Nothing here knows networks.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from musicae.atomic_io import check_writable
from musicae.audio import stft as signal
from musicae.audio.attributes import sound_attributes
from musicae.audio.baselines import Rival, rivals_of_denoising
from musicae.audio.chunking import Framing
from musicae.audio.config import LEVEL_RMS, UPSCALE, AudioConfig, damage_of, settled
from musicae.audio.decoding import SOUND_SUFFIXES
from musicae.audio.excerpts import find_excerpt, heard_chunks, root_mean_square
from musicae.audio.files import read_mono, read_mono_blocks, resample, sound_info, write_sound
from musicae.audio.formats import kind_remark, result_suffix
from musicae.audio.frames import MaskFunction
from musicae.audio.mapping import map_sound
from musicae.audio.metrics import restoration_measures, synthesis_measures
from musicae.audio.noise_profile import told_noise
from musicae.audio.report import picture_beside, report_lines
from musicae.audio.representation import FORMS, MagnitudeForm
from musicae.audio.streaming import SoundStream, map_sound_as_stream
from musicae.domain import Corruption, Domain, DomainConfig, Reading, Selection, TensorFunction
from musicae.errors import MusicaeError
from musicae.spec import TensorSpec

# General MIDI programs of the starter sounds, in turn.
_STARTER_PROGRAMS = {"piano": 0, "violin": 40, "flute": 73, "guitar": 24, "accordion": 21, "harp": 46, "clarinet": 71}
_STARTER_TUNES, _STARTER_S = 30, 18.0


@dataclass(frozen=True)
class SoundSource:
    """What `AudioDomain.write` needs to write a chunk the way its file was.

    Attributes:
        sample_rate_hz: of the file.
        subtype: how the file stores samples.
        rms: of the whole file, as mono at the model's rate.
        frames: length of the excerpt, at the file's rate.
    """

    sample_rate_hz: int
    subtype: str
    rms: float
    frames: int


class AudioDomain(Domain):
    """Sound files of any rate and number of channels; models hear them as mono, or channel by channel."""

    name: ClassVar[str] = "audio"
    suffixes: ClassVar[tuple[str, ...]] = SOUND_SUFFIXES
    output_suffix: ClassVar[str] = ".wav"
    tasks: ClassVar[tuple[str, ...]] = ("reconstruct", "denoise", "upscale")
    Config: ClassVar[type[DomainConfig]] = AudioConfig
    # A spectrum has 65,000 cells a channel: bigger batches leave a CPU waiting for memory.
    training_defaults: ClassVar[dict[str, Any]] = {"batch_size": 8, "evaluate_every": 250, "evaluate_examples": 128}
    config: AudioConfig

    def __init__(self, config: DomainConfig | None = None) -> None:
        super().__init__(config)
        self.form = FORMS[self.config.representation](self.config)

    @classmethod
    def configure(cls, config: DomainConfig, files: Sequence[Path], task: str = "reconstruct") -> DomainConfig:
        """Settles the representation by the task: to restore takes phases, to make sound of a code does not."""
        assert isinstance(config, AudioConfig)
        return settled(config, task)

    @property
    def spec(self) -> TensorSpec:
        return self.form.spec

    def read(self, path: Path) -> Reading:
        info = sound_info(path)
        channels = "one channel" if info.channels == 1 else f"{info.channels} channels mixed to one"
        part = f"{channels}, {info.sample_rate_hz} Hz, {info.duration_s:.1f} s"
        return self._reading(read_mono(path, self.config.sample_rate_hz), part)

    def starter(self) -> Iterator[tuple[str, Reading]]:
        from musicae.music.reading import read_scores
        from musicae.music.render import playable_score, render_midi
        from musicae.starter import starter_file

        tunes = read_scores(starter_file("tunes.abc"))[:_STARTER_TUNES]
        for number, tune in enumerate(tunes):
            instrument, program = list(_STARTER_PROGRAMS.items())[number % len(_STARTER_PROGRAMS)]
            midi = playable_score(tune.score)
            for part in midi.instruments:
                part.program = program
                part.notes = [note for note in part.notes if note.end <= _STARTER_S]
            samples = render_midi(midi, sample_rate_hz=self.config.sample_rate_hz)
            yield f"{number + 1} {tune.title}", self._reading(samples, f"{instrument}, {len(samples)} samples")

    def to_tensor(self, stored: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        return self.form.to_tensor(stored.float(), generator)

    def identity(self, examples: np.ndarray) -> np.ndarray:
        digests = (hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=8).digest() for row in examples)
        return np.array([int.from_bytes(digest, "little") for digest in digests], dtype=np.uint64)

    def corruption(self, task: str, *, split: str = "train", snr_db: float | None = None) -> Corruption | None:
        """The damage of a task; None for `reconstruct`.

        Args:
            task: one of `tasks`.
            split: `train`, `validation` or `test`: noise recordings are split by their names. A split that
                too few recordings leave empty uses made noise only.
            snr_db: one signal-to-noise ratio for all, for measuring; None draws it from the config's range.

        Raises:
            MusicaeError: a noise folder of the config that isn't there, or holds no sound.
        """
        if task not in self.tasks:
            raise ValueError(f"expected a task of {self.tasks}, got {task!r}")
        return damage_of(task, self.config, split, snr_db)

    def select(self, path: Path, *, start_s: float | None = None, **choice: Any) -> Selection:
        """Picks the loudest chunk of a file, or the one that begins at `start_s` seconds."""
        unknown = [name for name, value in choice.items() if value is not None]
        if unknown:
            raise MusicaeError(f"a sound has no {unknown[0]!r} to choose; its chunk is chosen by start_s, in seconds.")
        rate_hz, info = self.config.sample_rate_hz, sound_info(path)
        start = None if start_s is None else round(start_s * rate_hz)
        if start is not None and not 0 <= start < info.duration_s * rate_hz:
            raise MusicaeError(f"start_s={start_s} lies outside of {path}, which lasts {info.duration_s:.1f} s.")
        excerpt = find_excerpt(read_mono_blocks(path, rate_hz), self.config.chunk_samples, start=start)
        size = len(excerpt.samples)
        is_whole_file = excerpt.start == 0 and size < self.config.chunk_samples
        # Through two rates and back, rounding could cost a sample; a whole file keeps its length.
        frames = info.frames if is_whole_file else round(size * info.sample_rate_hz / rate_hz)
        label = f"seconds {excerpt.start / rate_hz:.1f}–{(excerpt.start + size) / rate_hz:.1f}"
        source = SoundSource(info.sample_rate_hz, info.subtype, excerpt.rms, frames)
        return Selection(self._stored([excerpt.samples], excerpt.rms), label, source)

    def write(self, tensor: torch.Tensor, path: Path, source: Any = None) -> None:
        """Writes examples one after the other, at the stored level and the domain's rate.

        Args:
            tensor: `(examples, *spec.shape)`.
            path: a .wav.
            source: a selection's `SoundSource`: the file's level and rate, and for one example its length.
        """
        waveform = self._waveforms(tensor, is_final=True).reshape(-1)
        if source is None:
            write_sound(waveform, path, self.config.sample_rate_hz)
            return
        frames = resample(waveform, self.config.sample_rate_hz, source.sample_rate_hz)
        if len(tensor) == 1:
            frames = np.pad(frames, (0, max(0, source.frames - len(frames))))[: source.frames]
        sound = frames * source.rms / LEVEL_RMS
        # What is made of a code can have higher peaks than any file: all of it is turned down, and nothing clipped.
        sound /= max(1.0, float(np.abs(sound).max(initial=0.0)))
        write_sound(sound, path, source.sample_rate_hz, subtype=source.subtype)

    def map_file(self, path: Path, target: Path, function: TensorFunction, task: str = "reconstruct") -> None:
        least_rate_hz = self.config.sample_rate_hz if task == "upscale" else 0
        map_sound(path, target, self.form.on_spectra(function), self._framing(task), least_rate_hz=least_rate_hz)

    def result_suffix(self, source: Any) -> str:
        return result_suffix(Path(source))

    def kind_remark(self, source: Any, target: Path) -> str | None:
        remark = kind_remark(Path(source), target)
        if remark is not None or self.config.representation != "band":
            return remark
        cutoff_hz, rate_hz = self.config.sample_rate_hz // UPSCALE // 2, sound_info(Path(source)).sample_rate_hz
        if rate_hz <= 2 * cutoff_hz:
            return None
        return f"{target.name}: the file is at {rate_hz} Hz already; above {cutoff_hz} Hz what was weak was filled in"

    def told_noise(self, function: TensorFunction, source: Path, profile: Path) -> TensorFunction:
        return told_noise(function, source, profile, self._framing())

    def report(self, source: Path, target: Path) -> Callable[[float], list[str]]:
        check_writable(picture_beside(target))
        return partial(report_lines, source, target)

    def open_stream(self, mask: MaskFunction, *, channels: int, sample_rate_hz: int | None = None) -> SoundStream:
        own_hz = self.config.sample_rate_hz
        rate_hz = sample_rate_hz or own_hz
        return SoundStream(
            mask, n_fft=self.config.n_fft, mask_rate_hz=own_hz, sample_rate_hz=rate_hz, channels=channels
        )

    def map_stream(self, path: Path, target: Path, mask: MaskFunction) -> None:
        map_sound_as_stream(
            path, target, lambda rate_hz, channels: self.open_stream(mask, channels=channels, sample_rate_hz=rate_hz)
        )

    def metrics(self, estimate: torch.Tensor, target: torch.Tensor, damaged: torch.Tensor) -> dict[str, torch.Tensor]:
        if isinstance(self.form, MagnitudeForm):
            return synthesis_measures(self.form.magnitude(estimate), self.form.magnitude(target), self.config)
        return restoration_measures(estimate, target, damaged, self.config)

    def attributes(self, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
        """Brightness, loudness (beside the file's own level), pitch, noisiness; see `musicae.audio.attributes`."""
        return sound_attributes(self.form.magnitude(tensor), sample_rate_hz=self.config.sample_rate_hz)

    def turned(self, path: torch.Tensor) -> torch.Tensor:
        return self.form.turned(path)

    def lasting(self, source: Any) -> Any:
        assert isinstance(source, SoundSource)
        frames = round(self.config.chunk_samples * source.sample_rate_hz / self.config.sample_rate_hz)
        return replace(source, frames=frames)

    def baselines(self, task: str) -> dict[str, Rival]:
        """Of noisy sound `musicae.audio.baselines`; of sound made from magnitudes, what is made of the true ones."""
        if task == "denoise":
            return rivals_of_denoising(self.config.sample_rate_hz)
        return {"copy_synthesis": lambda damaged, clean: clean} if isinstance(self.form, MagnitudeForm) else {}

    @property
    def primary_metric(self) -> str | None:
        return None if isinstance(self.form, MagnitudeForm) else "si_sdr_out_db"

    @property
    def example_duration_s(self) -> float:
        return self.config.chunk_samples / self.config.sample_rate_hz

    def preview(self, rows: dict[str, torch.Tensor], stem: Path, source: Any = None) -> list[Path]:
        from musicae.plots import spectrograms

        config = self.config
        pictures = {
            label: list(signal.decibels(self.form.magnitude(batch.detach().cpu())).numpy())
            for label, batch in rows.items()
        }
        picture = stem.with_name(f"{stem.name}.png")
        spectrograms(pictures, picture, sample_rate_hz=config.sample_rate_hz, hop_samples=config.hop_samples)
        waveforms = {label: self._waveforms(batch).reshape(-1) for label, batch in rows.items()}
        # One scale for all rows: they are there to be compared.
        peak = max([1.0, *(float(np.abs(waveform).max(initial=0.0)) for waveform in waveforms.values())])
        files = [picture]
        if len(waveforms) == 1:
            return files  # what is drawn alone is written as a sound of its own
        for label, waveform in waveforms.items():
            name = re.sub(r"[^\w.-]+", "-", label)
            files.append(stem.with_name(f"{stem.name}_{name}.wav"))
            write_sound(waveform / peak, files[-1], config.sample_rate_hz)
        return files

    def _framing(self, task: str = "reconstruct") -> Framing:
        framing = Framing.of_examples(
            sample_rate_hz=self.config.sample_rate_hz,
            n_fft=self.config.n_fft,
            chunk_samples=self.config.chunk_samples,
            level_rms=LEVEL_RMS,
        )
        return framing if task == "reconstruct" else framing.for_restoring(shares_mask=task == "denoise")

    def _waveforms(self, tensor: torch.Tensor, *, is_final: bool = False) -> np.ndarray:
        self.spec.check(tuple(tensor.shape))
        waveforms: np.ndarray = self.form.to_waveform(tensor.detach().cpu(), is_final=is_final).numpy()
        return waveforms

    def _reading(self, samples: np.ndarray, part: str) -> Reading:
        """Cuts a file, at the domain's rate, into stored examples."""
        heard, silent = heard_chunks(samples, self.config.chunk_samples)
        skipped = {"silent": silent} if silent else {}
        return Reading(self._stored(heard, root_mean_square(samples)), skipped, (part,))

    def _stored(self, chunks: Sequence[np.ndarray], rms: float) -> np.ndarray:
        """Chunks of a file with this RMS → `(chunks, samples)` float16, short ones padded with silence."""
        stored = np.zeros((len(chunks), self.config.chunk_samples), np.float16)
        for row, chunk in zip(stored, chunks, strict=True):
            row[: len(chunk)] = chunk * (LEVEL_RMS / rms if rms > 0 else 0.0)
        return stored
