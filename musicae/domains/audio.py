"""Sound as complex spectra: `(2, frequency, time)`, two seconds at a time.

A restoring model turns parts of the spectrum down, and its estimate lives in the same space as its target, so
noise, model and score all work on one kind of tensor. Stored examples are waveforms (float16), because a
spectrum takes eight times the room and noise has to be drawn anew for every batch. A file is brought to one
loudness as a whole, so that its quiet chunks stay quiet. Nothing here knows networks.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator

from musicae.domains.base import Corruption, Domain, DomainConfig, Reading, Selection, TensorFunction
from musicae.errors import MusicaeError
from musicae.sound import corruptions, signal
from musicae.sound.decoding import SOUND_SUFFIXES
from musicae.sound.excerpts import find_excerpt, heard_chunks, root_mean_square
from musicae.sound.files import read_mono, read_mono_blocks, resample, sound_info, write_sound
from musicae.sound.frames import MaskFunction
from musicae.sound.mapping import Framing, map_sound
from musicae.sound.noise_recordings import NoiseRecordings, noise_files, split_of_noise
from musicae.sound.streaming import SoundStream
from musicae.sound.wiener import wiener_filtered
from musicae.spec import Layout, TensorSpec

# −20 dB of full scale leaves room for peaks, and makes a cell of the spectrum about 1.
LEVEL_RMS = 0.1
_GAIN_DB = 6.0
_CLEAN_SHARE = 0.05
# General MIDI programs of the starter sounds, in turn.
_STARTER_PROGRAMS = {"piano": 0, "violin": 40, "flute": 73, "guitar": 24, "accordion": 21, "harp": 46, "clarinet": 71}
_STARTER_TUNES, _STARTER_S = 30, 18.0


class AudioConfig(DomainConfig):
    """How sound becomes spectra, and which noise a model learns to remove."""

    sample_rate_hz: int = Field(16_000, ge=4_000, le=192_000)
    n_fft: int = 1024  # window in samples; a perfect mask gains 0.4 dB over 512 on speech, 1.8 on music
    chunk_s: float = Field(2.0, ge=0.25, le=60.0)  # rounded to a multiple of 8 frames
    noise: tuple[str, ...] = ()  # folders or files of noise recordings; white, pink and hum are always there
    snr_db_low: float = Field(-5.0, ge=-40, le=80)
    snr_db_high: float = Field(20.0, ge=-40, le=80)

    @field_validator("noise", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        """A command line gives one text: places parted by commas."""
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _consistent(self) -> "AudioConfig":
        if self.n_fft not in (256, 512, 1024, 2048, 4096):
            raise ValueError(f"n_fft is 256, 512, 1024, 2048 or 4096, got {self.n_fft}")
        if self.snr_db_low > self.snr_db_high:
            raise ValueError(f"snr_db_low={self.snr_db_low} lies above snr_db_high={self.snr_db_high}")
        if self.frames < 16:
            raise ValueError(f"chunk_s={self.chunk_s} is too short for n_fft={self.n_fft}: {self.frames} frames of 16")
        return self

    @property
    def hop_samples(self) -> int:
        """From one frame to the next."""
        return self.n_fft // 4

    @property
    def frames(self) -> int:
        """Frames in a chunk."""
        return 8 * round(self.chunk_s * self.sample_rate_hz / self.hop_samples / 8)

    @property
    def chunk_samples(self) -> int:
        """Samples in a chunk: the first frame stands on the first sample, the last just behind the last one."""
        return (self.frames - 1) * self.hop_samples


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
    tasks: ClassVar[tuple[str, ...]] = ("reconstruct", "denoise")
    Config: ClassVar[type[DomainConfig]] = AudioConfig
    # A spectrum has 65,000 cells a channel: bigger batches leave a CPU waiting for memory.
    training_defaults: ClassVar[dict[str, Any]] = {"batch_size": 8, "evaluate_every": 250, "evaluate_examples": 128}
    config: AudioConfig

    @property
    def spec(self) -> TensorSpec:
        config = self.config
        shape = (2, config.n_fft // 2 + 1, config.frames)
        return TensorSpec(layout=Layout.GRID, shape=shape, likelihood="spectral", correction="mask")

    def read(self, path: Path) -> Reading:
        info = sound_info(path)
        channels = "one channel" if info.channels == 1 else f"{info.channels} channels mixed to one"
        part = f"{channels}, {info.sample_rate_hz} Hz, {info.duration_s:.1f} s"
        return self._reading(read_mono(path, self.config.sample_rate_hz), part)

    def starter(self) -> Iterator[tuple[str, Reading]]:
        from musicae.render import playable_score, render_midi
        from musicae.score.reading import read_scores
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
        waveform = stored.float()  # (batch, samples)
        if generator is not None:
            drawn = torch.rand((2, len(waveform), 1), generator=generator, device=waveform.device)
            gain = 10 ** (_GAIN_DB * (2 * drawn[0] - 1) / 20)
            waveform = waveform * gain * torch.where(drawn[1] < 0.5, -1.0, 1.0)
        return signal.stft(waveform, n_fft=self.config.n_fft)  # (batch, 2, frequency, time)

    def identity(self, examples: np.ndarray) -> np.ndarray:
        digests = (hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=8).digest() for row in examples)
        return np.array([int.from_bytes(digest, "little") for digest in digests], dtype=np.uint64)

    def corruption(self, task: str, *, split: str = "train", snr_db: float | None = None) -> Corruption | None:
        """The damage of a task; None for `reconstruct`.

        Args:
            task: one of `tasks`.
            split: `train`, `validation` or `test`: noise recordings are split by their names. A split that
                too few recordings leave empty uses white, pink and hum only.
            snr_db: one signal-to-noise ratio for all, for measuring; None draws it from the config's range.

        Raises:
            MusicaeError: a noise folder of the config that isn't there, or holds no sound.
        """
        if task not in self.tasks:
            raise ValueError(f"expected a task of {self.tasks}, got {task!r}")
        if task == "reconstruct":
            return None
        files = noise_files(self.config.noise) if self.config.noise else []
        chosen = [path for path in files if split_of_noise(path) == split]
        if not any(split_of_noise(path) == "train" for path in files):
            # A handful of recordings is for training, wherever their names fall, and then for nothing else.
            chosen = files if split == "train" else []
        config = self.config
        return corruptions.AddNoise(
            sample_rate_hz=config.sample_rate_hz,
            n_fft=config.n_fft,
            chunk_samples=config.chunk_samples,
            snr_db_range=(config.snr_db_low, config.snr_db_high) if snr_db is None else (snr_db, snr_db),
            silent_power=LEVEL_RMS**2,
            clean_share=_CLEAN_SHARE if split == "train" and snr_db is None else 0.0,
            recordings=NoiseRecordings.read(chosen, config.sample_rate_hz),
        )

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
        waveform = self._waveforms(tensor).reshape(-1)
        if source is None:
            write_sound(waveform, path, self.config.sample_rate_hz)
            return
        frames = resample(waveform, self.config.sample_rate_hz, source.sample_rate_hz)
        if len(tensor) == 1:
            frames = np.pad(frames, (0, max(0, source.frames - len(frames))))[: source.frames]
        write_sound(frames * source.rms / LEVEL_RMS, path, source.sample_rate_hz, subtype=source.subtype)

    def map_file(self, path: Path, target: Path, function: TensorFunction, task: str = "reconstruct") -> None:
        config = self.config
        map_sound(path, target, function, Framing(config.sample_rate_hz, config.n_fft, config.chunk_samples, LEVEL_RMS))

    def open_stream(self, mask: MaskFunction, *, channels: int, sample_rate_hz: int | None = None) -> SoundStream:
        own_hz = self.config.sample_rate_hz
        rate_hz = sample_rate_hz or own_hz
        return SoundStream(
            mask, n_fft=self.config.n_fft, mask_rate_hz=own_hz, sample_rate_hz=rate_hz, channels=channels
        )

    def metrics(self, estimate: torch.Tensor, target: torch.Tensor, damaged: torch.Tensor) -> dict[str, torch.Tensor]:
        samples, rate_hz = self.config.chunk_samples, self.config.sample_rate_hz
        waveforms = [signal.inverse_stft(batch, samples=samples) for batch in (estimate, target, damaged)]
        before, after = signal.si_sdr_db(waveforms[2], waveforms[1]), signal.si_sdr_db(waveforms[0], waveforms[1])
        return {
            "si_sdr_in_db": before,
            "si_sdr_out_db": after,
            "si_sdr_gain_db": after - before,
            "log_mel_l1": signal.log_mel_l1(estimate, target, sample_rate_hz=rate_hz),
            "log_spectral_distance_db": signal.log_spectral_distance_db(estimate, target, sample_rate_hz=rate_hz),
            "multi_resolution_distance": signal.multi_resolution_distance(waveforms[0], waveforms[1]),
        }

    def untrained(self, task: str) -> dict[str, TensorFunction]:
        """A Wiener filter, see `musicae.sound.wiener`."""
        return {"wiener": wiener_filtered} if task == "denoise" else {}

    def preview(self, rows: dict[str, torch.Tensor], stem: Path, source: Any = None) -> list[Path]:
        from musicae.plots import spectrograms

        config = self.config
        pictures = {label: list(signal.decibels(batch.detach().cpu()).numpy()) for label, batch in rows.items()}
        picture = stem.with_name(f"{stem.name}.png")
        spectrograms(pictures, picture, sample_rate_hz=config.sample_rate_hz, hop_samples=config.hop_samples)
        waveforms = {label: self._waveforms(batch).reshape(-1) for label, batch in rows.items()}
        # One scale for all rows: they are there to be compared.
        peak = max([1.0, *(float(np.abs(waveform).max(initial=0.0)) for waveform in waveforms.values())])
        files = [picture]
        for label, waveform in waveforms.items():
            name = re.sub(r"[^\w.-]+", "-", label)
            files.append(stem.with_name(f"{stem.name}_{name}.wav"))
            write_sound(waveform / peak, files[-1], config.sample_rate_hz)
        return files

    def _waveforms(self, tensor: torch.Tensor) -> np.ndarray:
        self.spec.check(tuple(tensor.shape))
        waveforms: np.ndarray = signal.inverse_stft(tensor.detach().cpu(), samples=self.config.chunk_samples).numpy()
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
