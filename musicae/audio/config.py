"""Settings of sound models, what of them the task decides, and the corruption they ask for."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from musicae.audio.corruption import AddNoise, CutBand
from musicae.audio.noise import NOISES
from musicae.audio.noise_recordings import NoiseRecordings, noise_files, split_of_noise
from musicae.audio.note_labels import MOST_INSTRUMENTS, Instrument, find_instruments
from musicae.audio.sound import Sound
from musicae.domain import Corruption, DomainConfig
from musicae.errors import MusicaeError

# −20 dB of full scale leaves room for peaks, and makes a cell of the spectrum about 1.
LEVEL_RMS = 0.1
# The longest example: 87 s at 48 kHz, 16 million numbers as spectra.
_MOST_CHUNK_SAMPLES = 2**22
_CLEAN_SHARE = 0.1
_WINDOWS = (256, 512, 768, 1024, 1536, 1920, 2048, 3072, 4096)
# Of the noises that are learned, and that are scored on: what was recorded differs more than what is made.
_RECORDED_SHARE_LEARNED, _RECORDED_SHARE = 0.65, 0.5
_WIDE_HZ, _SURVEYED = 32_000, 16
_WIDE_N_FFT = {"denoise": 3072, "upscale": 1536}
_REPRESENTATIONS = {"reconstruct": "magnitude", "denoise": "spectrum", "upscale": "top"}


class AudioConfig(DomainConfig):
    """How sound becomes spectra, and which noise a model learns to remove."""

    sample_rate_hz: int = Field(16_000, ge=4_000, le=192_000)
    n_fft: int = 1024  # window in samples; a perfect mask gains 0.4 dB over 512 on speech, 1.8 on music
    chunk_s: float = Field(2.0, ge=0.25, le=60.0)  # rounded to a multiple of 8 frames
    # Complex spectra that are turned down (spectrum) or whose top is filled in (top), or magnitudes. Training decides
    # it by the task, unless it is stated.
    representation: Literal["spectrum", "top", "magnitude"] = "spectrum"
    # Whether a model of single notes learns which of them a name asks for (`musicae.audio.note_labels`), and of which
    # instruments; training reads those from the names of the files.
    labels: bool = False
    instruments: tuple[Instrument, ...] = Field(default=(), max_length=MOST_INSTRUMENTS)
    noise: tuple[str, ...] = ()  # folders or files of noise recordings, beside the families
    families: tuple[str, ...] = tuple(NOISES)  # of made noise
    snr_db_low: float = Field(-5.0, ge=-40, le=80)
    snr_db_high: float = Field(20.0, ge=-40, le=80)

    @field_validator("noise", "families", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        """A command line gives one text: places with commas between them."""
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("representation", mode="before")
    @classmethod
    def _not_former(cls, value: Any) -> Any:
        if value == "band":
            raise ValueError("models that filled in the upper half of a band had another network; train it again")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "AudioConfig":
        if self.n_fft not in _WINDOWS:
            raise ValueError(f"n_fft is one of {', '.join(map(str, _WINDOWS))}, got {self.n_fft}")
        if self.snr_db_low > self.snr_db_high:
            raise ValueError(f"snr_db_low={self.snr_db_low} lies above snr_db_high={self.snr_db_high}")
        if self.chunk_samples > _MOST_CHUNK_SAMPLES:
            raise ValueError(
                f"chunk_s={self.chunk_s} at {self.sample_rate_hz} Hz is {self.chunk_samples:,} samples, more than "
                f"{_MOST_CHUNK_SAMPLES:,}"
            )
        if self.frames < 16:
            raise ValueError(f"chunk_s={self.chunk_s} is too short for n_fft={self.n_fft}: {self.frames} frames of 16")
        unknown = [name for name in self.families if name not in NOISES]
        if unknown:
            raise ValueError(f"no family of noise is called {unknown[0]!r}; choose of {', '.join(NOISES)}")
        if not self.families and not self.noise:
            raise ValueError("families is empty and so is noise; keep one of them")
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


def filled_in(config: AudioConfig, files: Sequence[Path], task: str) -> AudioConfig:
    """Fills in what the config leaves to the task and the names of the files; see `AudioDomain.configure`."""
    config = _for_rate(_for_task(config, task), files, task)
    if not config.labels:
        return config
    if task != "reconstruct" or config.representation != "magnitude":
        raise MusicaeError("labels=true is for models that make sound of a code: leave out task and representation.")
    return config if config.instruments else config.model_copy(update={"instruments": find_instruments(files)})


def _for_task(config: AudioConfig, task: str) -> AudioConfig:
    if "representation" in config.model_fields_set:
        if task != "reconstruct" and config.representation != _REPRESENTATIONS[task]:
            raise MusicaeError(
                f"to {task} takes representation={_REPRESENTATIONS[task]}, not {config.representation}; leave it out."
            )
        return config
    return config.model_copy(update={"representation": _REPRESENTATIONS[task]})


def _for_rate(config: AudioConfig, files: Sequence[Path], task: str) -> AudioConfig:
    """Restorers of sound that people have at 44.1 or 48 kHz see all of it, unless a rate is stated."""
    if task == "reconstruct" or "sample_rate_hz" in config.model_fields_set or not is_mostly_wide(files):
        return config
    chosen = {"sample_rate_hz": 48_000, "n_fft": _WIDE_N_FFT[task], "chunk_s": 4.0}
    return config.model_copy(
        update={name: value for name, value in chosen.items() if name not in config.model_fields_set}
    )


def is_mostly_wide(files: Sequence[Path]) -> bool:
    """Whether half of some files, or more, have a rate of 32 kHz or more."""
    rates = []
    for path in files[:: max(1, len(files) // _SURVEYED)][:_SURVEYED]:
        with suppress(MusicaeError):  # what can't be read is told when it is read
            rates.append(Sound.open(path).sample_rate_hz)
    return sum(rate >= _WIDE_HZ for rate in rates) * 2 >= len(rates) > 0


def corruption_of(task: str, config: AudioConfig, split: str, snr_db: float | None) -> Corruption | None:
    """The corruption of `denoise` and `upscale`; None for `reconstruct`. See `AudioDomain.corruption`."""
    if task == "reconstruct":
        return None
    if task == "upscale":
        return CutBand(sample_rate_hz=config.sample_rate_hz, n_fft=config.n_fft, chunk_samples=config.chunk_samples)
    is_training = split == "train" and snr_db is None
    # How often a noise is drawn decides how well it is removed.
    recordings = NoiseRecordings.read(_recordings(config.noise, split), config.sample_rate_hz, by_folder=is_training)
    if split == "all" and config.noise and recordings is None:
        raise MusicaeError(f"no noise can be read from {', '.join(config.noise)}; give sound files, or no noise.")
    return AddNoise(
        sample_rate_hz=config.sample_rate_hz,
        n_fft=config.n_fft,
        chunk_samples=config.chunk_samples,
        snr_db_range=(config.snr_db_low, config.snr_db_high) if snr_db is None else (snr_db, snr_db),
        silent_power=LEVEL_RMS**2,
        families=config.families if recordings is not None else config.families or tuple(NOISES),
        clean_share=_CLEAN_SHARE if is_training else 0.0,
        recordings=recordings,
        recorded_share=_RECORDED_SHARE_LEARNED if is_training else _RECORDED_SHARE,
        varied=is_training,
    )


def _recordings(noise: tuple[str, ...], split: str) -> list[Path]:
    """The recordings of a split; of `all`, every one."""
    files = noise_files(noise) if noise else []
    if split == "all":
        return files
    if not any(split_of_noise(path) == "train" for path in files):
        # A handful of recordings is for training, wherever their names fall, and then for nothing else.
        return files if split == "train" else []
    return [path for path in files if split_of_noise(path) == split]
