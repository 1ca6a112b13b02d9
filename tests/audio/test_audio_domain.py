"""Sound files become spectra and sound files again, of the same length, rate, channels and format."""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from pydantic import ValidationError
from sound_files import map_file, mapped, read_sound, shape_of, write_sound

from musicae.audio import stft as signal
from musicae.audio.domain import LEVEL_RMS, AudioConfig, AudioDomain
from musicae.audio.sound import Sound
from musicae.errors import DamagedFileError, MusicaeError


@pytest.fixture
def domain() -> AudioDomain:
    return AudioDomain()


@pytest.fixture
def small() -> AudioDomain:
    """Chunks of a quarter of a second, so that a second has several."""
    return AudioDomain(AudioConfig(n_fft=256, chunk_s=0.26))


def identity(batch: torch.Tensor) -> torch.Tensor:
    return batch


def music(seconds: float, rate_hz: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Decaying notes with overtones and some noise above the model's Nyquist frequency, `(frames, channels)`."""
    generator = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    sound = 0.02 * generator.standard_normal((len(time_s), channels))
    for start_s in np.arange(0, seconds, 0.3):
        pitch_hz = 220 * 2 ** (generator.integers(0, 24) / 12)
        after_s = np.clip(time_s - start_s, 0, None)
        note = np.sin(2 * np.pi * pitch_hz * after_s) * np.exp(-5 * after_s) * (time_s >= start_s)
        sound += 0.3 * note[:, None] * generator.uniform(0.3, 1.0, channels)
    return np.clip(sound, -0.95, 0.95).astype(np.float32)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def level(samples: np.ndarray) -> float:
    return float(np.sqrt((samples.astype(np.float64) ** 2).mean()))


# Settings


@pytest.mark.parametrize("n_fft", [256, 512, 1024, 2048])
@pytest.mark.parametrize("chunk_s", [1.0, 2.0, 3.3])
def test_frames_are_a_multiple_of_eight_and_the_spec_is_what_comes_out(n_fft: int, chunk_s: float) -> None:
    domain = AudioDomain(AudioConfig(n_fft=n_fft, chunk_s=chunk_s))

    tensor = domain.tensor(torch.zeros(2, domain.config.chunk_samples, dtype=torch.float16)).target

    domain.spec.check(tuple(tensor.shape))
    assert domain.spec.shape[2] % 8 == 0
    assert domain.config.chunk_samples / 16_000 == pytest.approx(chunk_s, abs=4.5 * n_fft / 4 / 16_000 + n_fft / 16_000)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"n_fft": 500}, "n_fft is one of 256, 512, .*, 4096, got 500"),
        ({"snr_db_low": 10.0, "snr_db_high": 0.0}, r"snr_db_low=10.0 lies above snr_db_high=0.0"),
        ({"chunk_s": 0.25, "n_fft": 4096}, "too short"),
        ({"sample_rate_hz": 0}, "greater than or equal to 4000"),
        ({"hop": 100}, "Extra inputs"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        AudioConfig.model_validate(settings)


def test_noise_places_can_be_one_text() -> None:
    config = AudioConfig.model_validate({"noise": "rain, sea/waves.wav"})

    assert config.noise == ("rain", "sea/waves.wav")
    assert AudioConfig.model_validate_json(config.model_dump_json()) == config


# Reading


def test_a_file_becomes_overlapping_chunks_of_one_level(tmp_path: Path, domain: AudioDomain) -> None:
    sound = music(9.0, 16_000)
    write_sound(sound, tmp_path / "a.wav", 16_000, subtype="FLOAT")

    reading = domain.read(tmp_path / "a.wav")

    size = domain.config.chunk_samples
    assert reading.examples.dtype == np.float16
    assert reading.examples.shape == ((len(sound) - size - 1) // (size // 2) + 2, size)
    expected = sound[:, 0] * (LEVEL_RMS / level(sound))
    assert np.abs(reading.examples[0] - expected[:size]).max() < 1e-3
    assert np.abs(reading.examples[1] - expected[size // 2 : size // 2 + size]).max() < 1e-3
    assert np.abs(reading.examples[-1] - expected[-size:]).max() < 1e-3
    assert reading.skipped == {}
    assert reading.parts == ("one channel, 16000 Hz, 9.0 s",)


def test_the_level_is_the_files_and_not_the_chunks(tmp_path: Path, small: AudioDomain) -> None:
    sound = music(2.0, 16_000)
    sound[16_000:] *= 0.1
    write_sound(sound, tmp_path / "a.wav", 16_000, subtype="FLOAT")

    examples = small.read(tmp_path / "a.wav").examples.astype(np.float64)

    assert level(examples[-1]) < 0.3 * level(examples[0])


def test_loudness_of_the_file_does_not_matter(tmp_path: Path, domain: AudioDomain) -> None:
    for name, gain in (("quiet", 1e-3), ("loud", 1.0)):
        write_sound(gain * music(3.0, 16_000), tmp_path / f"{name}.wav", 16_000, subtype="FLOAT")

    quiet, loud = (domain.read(tmp_path / f"{name}.wav").examples for name in ("quiet", "loud"))

    assert np.allclose(quiet, loud, atol=1e-3)


def test_short_files_are_padded_with_silence(tmp_path: Path, domain: AudioDomain) -> None:
    write_sound(music(0.5, 8_000), tmp_path / "a.wav", 8_000)

    examples = domain.read(tmp_path / "a.wav").examples

    assert examples.shape == (1, domain.config.chunk_samples)
    assert examples[0, :8_000].any()
    assert not examples[0, 8_100:].any()


def test_silent_chunks_are_counted_and_left_out(tmp_path: Path, small: AudioDomain) -> None:
    sound = np.concatenate((music(1.0, 16_000), np.zeros((16_000, 1), np.float32)))
    write_sound(sound, tmp_path / "a.wav", 16_000)
    write_sound(0 * sound, tmp_path / "silent.wav", 16_000)

    half, silent = small.read(tmp_path / "a.wav"), small.read(tmp_path / "silent.wav")

    assert half.skipped["silent"] > 3
    assert len(half.examples) > 3
    assert silent.examples.shape == (0, small.config.chunk_samples)
    assert set(silent.skipped) == {"silent"}


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_rate_and_channels_are_read_at_the_models_rate(
    tmp_path: Path, small: AudioDomain, rate_hz: int, channels: int
) -> None:
    time_s = np.arange(rate_hz) / rate_hz
    sine = np.repeat(np.sin(2 * np.pi * 1_000 * time_s)[:, None], channels, axis=1)
    write_sound(0.5 * sine, tmp_path / "a.wav", rate_hz, subtype="PCM_24")

    reading = small.read(tmp_path / "a.wav")

    middle = small.tensor(torch.from_numpy(reading.examples[2:4])).target
    assert (signal.magnitude(middle).mean(2).argmax(1) == 16).all()  # 1,000 Hz at 62.5 Hz a bin
    assert reading.parts[0].startswith("one channel" if channels == 1 else f"{channels} channels mixed to one")


@pytest.mark.parametrize("what", ["zero", "nan", "text"])
def test_damaged_files_are_refused_and_nothing_is_written(tmp_path: Path, domain: AudioDomain, what: str) -> None:
    path, target = tmp_path / "bad.wav", tmp_path / "out" / "a.wav"
    target.parent.mkdir()
    if what == "text":
        path.write_text("not a sound")
    else:
        late_nan = np.concatenate((music(5, 16_000)[:, 0], [np.nan]))
        soundfile.write(path, np.zeros(0) if what == "zero" else late_nan, 16_000, subtype="FLOAT")

    for read in (
        domain.read,
        lambda path: domain.select(domain.open(path)),
        lambda path: map_file(domain, path, target, identity),
    ):
        with pytest.raises(DamagedFileError, match=r"bad\.wav"):
            read(path)
    assert files_in(target.parent) == []


# Tensors


def test_tensor_and_waveform_are_one_and_the_same(tmp_path: Path, domain: AudioDomain) -> None:
    stored = torch.from_numpy(music(2.5, 16_000)[: domain.config.chunk_samples, 0].astype(np.float16))[None]

    domain.compose(domain.tensor(stored).target).save(tmp_path / "a.wav")

    assert np.abs(read_sound(tmp_path / "a.wav")[0][:, 0] - stored[0].numpy()).max() < 1e-4


def test_identity_tells_content_apart(domain: AudioDomain) -> None:
    one, other = (music(2.5, 16_000, seed=seed)[:, 0].astype(np.float16) for seed in (0, 1))

    keys = domain.identity(np.stack((one, other, one)))

    assert keys.dtype == np.uint64
    assert keys[0] == keys[2] != keys[1]


# Corruption


def test_reconstruct_has_no_damage_and_other_tasks_are_unknown(domain: AudioDomain) -> None:
    assert domain.corruption("reconstruct") is None
    with pytest.raises(ValueError, match="dereverb"):
        domain.corruption("dereverb")


def test_noise_of_a_fixed_ratio_is_for_measuring(domain: AudioDomain) -> None:
    corruption = domain.corruption("denoise", split="test", snr_db=5.0)
    assert corruption is not None
    time_s = np.arange(domain.config.chunk_samples) / 16_000
    clean = domain.tensor(torch.from_numpy(0.1 * np.sin(2 * np.pi * 440 * time_s)).float().repeat(16, 1)).target

    noisy = corruption(clean, torch.Generator().manual_seed(0))

    si_sdr_in_db = domain.metrics(noisy, clean, noisy)["si_sdr_in_db"]
    assert (si_sdr_in_db - 5.0).abs().median() < 0.3
    assert (si_sdr_in_db - 5.0).abs().max() < 1.5  # clicks beside an edge


def test_a_missing_noise_folder_matters_only_to_training(tmp_path: Path) -> None:
    domain = AudioDomain(AudioConfig(noise=(str(tmp_path / "gone"),)))
    write_sound(music(1.0, 16_000), tmp_path / "a.wav", 16_000)

    map_file(domain, tmp_path / "a.wav", tmp_path / "b.wav", identity)

    assert domain.corruption("reconstruct") is None
    with pytest.raises(MusicaeError, match="gone"):
        domain.corruption("denoise")


def test_noise_that_was_named_for_scoring_and_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "a.wav").write_bytes(b"no sound")
    domain = AudioDomain(AudioConfig(noise=(str(tmp_path / "noise"),)))
    with pytest.raises(MusicaeError, match="no noise can be read from"):
        domain.corruption("denoise", split="all")


def test_training_varies_recorded_noise_and_draws_folders_evenly_and_scoring_does_not(tmp_path: Path) -> None:
    time_s = np.arange(8_000) / 16_000
    for hertz, names in ((1_000, "abcdefghij"), (4_000, "k")):
        for name in names:
            path = tmp_path / "noise" / str(hertz) / f"{name}.wav"
            write_sound(0.5 * np.sin(2 * np.pi * hertz * time_s), path, 16_000)
    domain = AudioDomain(AudioConfig(noise=(str(tmp_path / "noise"),), families=(), n_fft=512, chunk_s=0.5))

    found = {}
    for split in ("train", "all"):
        corruption = domain.corruption("denoise", split=split)
        assert corruption is not None
        corruption.SECOND_SHARE = corruption.GUSTS_SHARE = 0.0
        noise = corruption(torch.zeros(400, *domain.spec.shape), torch.Generator().manual_seed(0))
        power = noise.square().sum(1).mean(2)
        found[split] = power[power.sum(1) > 0].argmax(1)  # bins of 31.25 Hz

    assert set(found["all"].tolist()) == {32, 128}
    assert (found["all"] == 128).float().mean() == pytest.approx(1 / 11, abs=0.05)
    assert (found["train"] > 64).float().mean() == pytest.approx(0.5, abs=0.1)
    assert len(found["train"].unique()) > 50


def test_noise_of_the_test_split_was_never_trained_with(tmp_path: Path) -> None:
    """Each recording is one frequency; none is drawn in two splits."""
    for number in range(40):
        time_s = np.arange(8_000) / 16_000
        tone = np.sin(2 * np.pi * (500 + 125 * number) * time_s)
        write_sound(0.5 * tone, tmp_path / f"tone {number}.wav", 16_000)
    domain = AudioDomain(AudioConfig(noise=(str(tmp_path),), families=(), n_fft=512, chunk_s=0.5))
    found: dict[str, set[int]] = {}
    for split in ("train", "validation", "test"):
        corruption = domain.corruption("denoise", split=split, snr_db=0.0)  # as recorded, not varied
        assert corruption is not None
        noise = corruption(torch.zeros(400, *domain.spec.shape), torch.Generator().manual_seed(0))
        power = noise.pow(2).sum(1).mean(2)
        loudest = power.argmax(1)
        near = torch.stack([power[row, peak - 2 : peak + 3].sum() for row, peak in enumerate(loudest.tolist())])
        is_tone = (near / power.sum(1) > 0.9) & (loudest >= 15)
        found[split] = {round((peak.item() * 31.25 - 500) / 125) for peak in loudest[is_tone]}

    assert all(found.values())
    assert not found["train"] & found["test"]
    assert not found["train"] & found["validation"]
    assert not found["validation"] & found["test"]
    assert len(set.union(*found.values())) == 40


# One example of a file


def test_the_loudest_chunk_is_selected(tmp_path: Path, small: AudioDomain) -> None:
    sound = 0.01 * music(5.0, 16_000)
    sound[48_000:52_000] *= 30
    write_sound(sound, tmp_path / "a.wav", 16_000, subtype="FLOAT")

    selection = small.select(small.open(tmp_path / "a.wav"))

    assert selection.label.startswith(("seconds 2.9–", "seconds 3.0–"))
    assert selection.example.shape == (1, small.config.chunk_samples)


def test_a_chosen_start_is_kept_and_a_wrong_one_refused(tmp_path: Path, small: AudioDomain) -> None:
    sound = music(3.0, 16_000)
    write_sound(sound, tmp_path / "a.wav", 16_000, subtype="FLOAT")

    for start_s in (0.0, 0.7, 1.9, 2.9):
        example = small.select(small.open(tmp_path / "a.wav"), start_s=start_s).example[0]
        start = round(start_s * 16_000)
        expected = sound[start : start + small.config.chunk_samples, 0] * LEVEL_RMS / level(sound)
        assert np.abs(example[: len(expected)] - expected).max() < 1e-3
    with pytest.raises(MusicaeError, match=r"lasts 3\.0 s"):
        small.select(small.open(tmp_path / "a.wav"), start_s=3.5)
    with pytest.raises(MusicaeError, match="no bar to choose"):
        small.select(small.open(tmp_path / "a.wav"), bar=2, track=None)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("frames", [1, 700, 5_001])
def test_a_short_file_keeps_length_rate_and_level(
    tmp_path: Path, domain: AudioDomain, rate_hz: int, frames: int
) -> None:
    sound = music(1.0, rate_hz)[1_000 : 1_000 + frames]
    write_sound(sound, tmp_path / "a.wav", rate_hz, subtype="PCM_24")

    selection = domain.select(domain.open(tmp_path / "a.wav"))
    domain.compose(domain.tensor(torch.from_numpy(selection.example)).target, selection.frame).save(tmp_path / "b.wav")

    assert shape_of(tmp_path / "b.wav") == shape_of(tmp_path / "a.wav")
    if frames > 5_000:
        assert level(read_sound(tmp_path / "b.wav")[0]) == pytest.approx(level(sound), rel=0.1)


def test_several_examples_are_written_in_a_row(tmp_path: Path, small: AudioDomain) -> None:
    stored = torch.from_numpy(music(1.0, 16_000)[: 3 * small.config.chunk_samples, 0]).half()

    sound = small.compose(small.tensor(stored.view(3, -1)).target)

    assert np.abs(sound.samples - stored.numpy()).max() < 1e-3


# Whole files


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
@pytest.mark.parametrize(
    ("subtype", "channels", "tolerance"),
    [
        ("PCM_U8", 1, 2**-7),  # one step, where the last float error tips a rounding
        ("PCM_16", 1, 2**-15),
        ("PCM_16", 2, 2**-15),
        ("PCM_24", 6, 2e-6),
        ("FLOAT", 2, 2e-6),
    ],
)
def test_a_function_that_changes_nothing_gives_the_file_back(
    tmp_path: Path, domain: AudioDomain, rate_hz: int, subtype: str, channels: int, tolerance: float
) -> None:
    write_sound(music(5.3, rate_hz, channels), tmp_path / "a.wav", rate_hz, subtype=subtype)

    map_file(domain, tmp_path / "a.wav", tmp_path / "b.wav", identity)

    assert shape_of(tmp_path / "b.wav") == shape_of(tmp_path / "a.wav")
    before, after = (read_sound(tmp_path / name)[0] for name in ("a.wav", "b.wav"))
    assert np.abs(before - after).max() <= tolerance


@pytest.mark.parametrize("frames", [1, 2, 3, 100, 4_095, 32_511, 32_512, 32_513, 58_928, 58_929, 150_000])
@pytest.mark.parametrize("rate_hz", [16_000, 22_050])
def test_no_length_loses_a_sample(tmp_path: Path, domain: AudioDomain, frames: int, rate_hz: int) -> None:
    sound = music(10.0, rate_hz)[2_000 : 2_000 + frames]
    write_sound(sound, tmp_path / "a.wav", rate_hz, subtype="FLOAT")

    map_file(domain, tmp_path / "a.wav", tmp_path / "b.wav", identity)

    after = read_sound(tmp_path / "b.wav")[0]
    assert after.shape == sound.shape
    assert np.abs(after - sound).max() < 5e-6


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_a_function_that_halves_everything_halves_the_file(tmp_path: Path, domain: AudioDomain, rate_hz: int) -> None:
    """Above the model's Nyquist frequency as well, at seams as well as between them."""
    sound = music(7.0, rate_hz, 2)
    write_sound(sound, tmp_path / "a.wav", rate_hz, subtype="FLOAT")

    map_file(domain, tmp_path / "a.wav", tmp_path / "b.wav", lambda batch: batch / 2)

    inner = slice(100, -100)  # at the very ends the resampler has only silence to go by
    assert np.abs(read_sound(tmp_path / "b.wav")[0] - sound / 2)[inner].max() < 1e-4


def test_a_filter_acts_the_same_at_every_place(tmp_path: Path, domain: AudioDomain) -> None:
    """A low-pass by mask: a steady sine above it is gone everywhere, one below stays, with no seams."""
    time_s = np.arange(8 * 16_000) / 16_000
    low, high = (0.2 * np.sin(2 * np.pi * hz * time_s) for hz in (400, 3_000))
    write_sound(low + high, tmp_path / "a.wav", 16_000, subtype="FLOAT")

    def low_pass(batch: torch.Tensor) -> torch.Tensor:
        mask = (torch.arange(batch.shape[2]) < 64).float()
        return batch * mask[:, None]

    map_file(domain, tmp_path / "a.wav", tmp_path / "b.wav", low_pass)

    error = read_sound(tmp_path / "b.wav")[0][:, 0] - low
    assert np.abs(error[1_000:-1_000]).max() < 1e-3


def test_channels_do_not_leak_and_keep_their_balance(tmp_path: Path, domain: AudioDomain) -> None:
    sound = np.zeros((40_000, 3), np.float32)
    sound[:, 0] = music(2.5, 16_000)[:, 0]
    sound[:, 2] = 0.1 * music(2.5, 16_000, seed=1)[:, 0]
    write_sound(sound, tmp_path / "a.wav", 16_000, subtype="FLOAT")

    map_file(domain, tmp_path / "a.wav", tmp_path / "b.wav", lambda batch: 0.5 * batch)

    after = read_sound(tmp_path / "b.wav")[0]
    assert not after[:, 1].any()
    assert np.abs(after - 0.5 * sound).max() < 1e-5


def test_what_the_model_removes_is_removed_above_its_band_too(tmp_path: Path, domain: AudioDomain) -> None:
    hiss = 0.1 * np.random.default_rng(0).standard_normal(4 * 44_100)
    write_sound(hiss, tmp_path / "a.wav", 44_100, subtype="FLOAT")

    map_file(domain, tmp_path / "a.wav", tmp_path / "b.wav", lambda batch: 0.01 * batch)

    after = read_sound(tmp_path / "b.wav")[0][:, 0]
    assert level(after[1_000:-1_000]) < 0.02 * level(hiss)


def test_silence_stays_silence(tmp_path: Path, domain: AudioDomain) -> None:
    write_sound(np.zeros((50_000, 2), np.float32), tmp_path / "a.wav", 44_100)

    map_file(domain, tmp_path / "a.wav", tmp_path / "b.wav", lambda batch: batch + 1)

    assert shape_of(tmp_path / "b.wav") == shape_of(tmp_path / "a.wav")
    assert not read_sound(tmp_path / "b.wav")[0].any()


def test_the_function_sees_sound_at_the_stored_level(tmp_path: Path, domain: AudioDomain) -> None:
    write_sound(0.003 * music(4.0, 44_100, 2), tmp_path / "a.wav", 44_100, subtype="FLOAT")
    seen: list[torch.Tensor] = []

    def watch(batch: torch.Tensor) -> torch.Tensor:
        seen.append(batch)
        return batch

    map_file(domain, tmp_path / "a.wav", tmp_path / "b.wav", watch)

    for batch in seen:
        domain.spec.check(tuple(batch.shape))
        assert len(batch) <= 8
    waveforms = signal.inverse_stft(torch.cat(seen), samples=domain.config.chunk_samples)
    assert level(waveforms.numpy()) == pytest.approx(LEVEL_RMS, rel=0.25)


@pytest.mark.parametrize("failure", ["raises", "not finite", "interrupted"])
def test_nothing_is_left_when_the_function_fails(tmp_path: Path, domain: AudioDomain, failure: str) -> None:
    write_sound(music(6.0, 16_000), tmp_path / "a.wav", 16_000)
    calls = []

    def fail_late(batch: torch.Tensor) -> torch.Tensor:
        calls.append(len(batch))
        if len(calls) < 2:
            return batch
        if failure == "raises":
            raise RuntimeError("out of memory")
        if failure == "interrupted":
            raise KeyboardInterrupt
        return batch * torch.nan

    expected = {"raises": RuntimeError, "not finite": MusicaeError, "interrupted": KeyboardInterrupt}[failure]
    with pytest.raises(expected):
        map_file(domain, tmp_path / "a.wav", tmp_path / "b.wav", fail_late)

    assert len(calls) == 2
    assert files_in(tmp_path) == ["a.wav"]


def test_a_file_can_be_mapped_onto_itself(tmp_path: Path, domain: AudioDomain) -> None:
    sound = music(6.0, 44_100)
    write_sound(sound, tmp_path / "a.wav", 44_100, subtype="FLOAT")

    map_file(domain, tmp_path / "a.wav", tmp_path / "a.wav", lambda batch: batch / 2)

    assert np.abs(read_sound(tmp_path / "a.wav")[0] - sound / 2)[100:-100].max() < 1e-4


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    """Three minutes, 32 MB as floats, take little more than twenty seconds do."""
    block = (music(20.0, 44_100) * 32_000).astype(np.int16)
    for name, repeats in (("short", 1), ("long", 9)):
        with soundfile.SoundFile(tmp_path / f"{name}.wav", "w", 44_100, 1, "PCM_16") as file:
            for _ in range(repeats):
                file.write(block)
    code = """
    import sys
    from pathlib import Path
    import torch
    from musicae.audio.domain import AudioDomain
    from musicae.domain import Answers

    torch.set_num_threads(1)
    folder, domain = Path(sys.argv[1]), AudioDomain()
    for name in ("short", "long"):
        sound = domain.open(folder / f"{name}.wav")
        domain.select(sound)
        answers = Answers(lambda: domain.windows(sound), lambda batch: batch.target)
        domain.assemble(sound, answers).save(folder / f"{name}-out.wav")
        status = Path("/proc/self/status").read_text()
        print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], capture_output=True, text=True, timeout=280
    )
    assert result.returncode == 0, result.stderr
    for name in ("short", "long"):
        assert shape_of(tmp_path / f"{name}-out.wav") == shape_of(tmp_path / f"{name}.wav")
    short, long = (int(line) / 1024 for line in result.stdout.splitlines())
    assert long < short + 20


def test_a_result_is_lazy_and_computed_anew_each_time_it_is_read(small: AudioDomain) -> None:
    sound, calls = Sound(music(1.5, 44_100, 2), 44_100), []

    def halve(batch: torch.Tensor) -> torch.Tensor:
        calls.append(len(batch))
        return batch / 2

    result = mapped(small, sound, halve)

    assert (result.frames, result.channels, calls) == (sound.frames, 2, [])
    first = np.concatenate(list(result.blocks()))
    once = len(calls)
    assert once == len(list(small.windows(sound))) > 3
    assert np.array_equal(np.concatenate(list(result.blocks())), first)
    assert len(calls) == 2 * once


def test_an_answer_of_another_shape_is_refused(small: AudioDomain) -> None:
    result = mapped(small, Sound(music(1.0, 16_000), 16_000), lambda batch: batch[..., :-1])
    with pytest.raises(ValueError, match="expected an answer of shape"):
        next(result.blocks())


@pytest.mark.parametrize(("task", "batch"), [("denoise", 1), ("upscale", 3)])
def test_windows_of_a_mask_are_of_all_channels_together(small: AudioDomain, task: str, batch: int) -> None:
    windows = list(small.windows(Sound(music(2.0, 16_000, 3), 16_000), task))
    assert {len(window.batch.target) for window in windows} == {batch}


def test_windows_of_many_channels_come_in_parts(small: AudioDomain) -> None:
    sound = Sound(music(1.0, 16_000, 11), 16_000, subtype="FLOAT")
    assert [len(window.batch.target) for window in small.windows(sound)][:2] == [8, 3]
    assert np.abs(mapped(small, sound, identity).samples - sound.samples).max() < 1e-5


# Arrays


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_rows_of_an_array_are_sounds_at_the_domains_rate(small: AudioDomain, dtype: type) -> None:
    rows = np.stack([music(1.0, 16_000, seed=seed)[:, 0] for seed in (0, 1)])
    rows = (rows * 32_767).astype(dtype) if dtype is np.int16 else rows.astype(dtype)

    stored = small.array_examples(rows)

    expected = [small.examples(Sound(row, 16_000)).examples for row in rows]
    assert stored.dtype == np.float16
    assert np.array_equal(stored, np.concatenate(expected))
    assert len(small.array_examples(0 * rows)) == 0


def test_arrays_that_hold_no_sounds_are_refused(small: AudioDomain) -> None:
    for array, sentence in (
        (np.zeros(100), "got the shape"),
        (np.zeros((2, 100, 3)), "got the shape"),
        (np.full((2, 100), np.nan), "not finite"),
        (np.zeros((2, 100), complex), "got complex128"),
    ):
        with pytest.raises(ValueError, match=sentence):
            small.array_examples(array)


# Scores and pictures


def test_scores_of_an_untouched_batch(domain: AudioDomain) -> None:
    stored = torch.from_numpy(music(4.5, 16_000)[: 2 * domain.config.chunk_samples, 0]).view(2, -1)
    clean = domain.tensor(stored).target
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))

    untouched, restored = domain.metrics(noisy, clean, noisy), domain.metrics(clean, clean, noisy)

    distances = ("log_mel_l1", "log_spectral_distance_db", "multi_resolution_distance")
    assert set(untouched) == {"si_sdr_in_db", "si_sdr_out_db", "si_sdr_gain_db", *distances}
    assert all(value.shape == (2,) for value in untouched.values())
    assert untouched["si_sdr_gain_db"].tolist() == [0, 0]
    assert restored["si_sdr_out_db"].tolist() == [signal.SI_SDR_LIMIT_DB] * 2
    for distance in distances:
        assert restored[distance].tolist() == pytest.approx([0, 0], abs=1e-4)
        assert (untouched[distance] > 0).all()


def test_preview_has_a_picture_and_a_sound_for_each_row(domain: AudioDomain) -> None:
    clean = torch.randn((2, *domain.spec.shape), generator=torch.Generator().manual_seed(0))

    found = domain.preview({"clean": clean, "with noise": 2 * clean, "silent": 0 * clean})

    assert list(found) == [".png", "_clean.wav", "_with-noise.wav", "_silent.wav"]
    assert found[".png"].size[0] > 100
    quiet, loud = found["_clean.wav"], found["_with-noise.wav"]
    assert quiet.frames == 2 * domain.config.chunk_samples
    assert loud.rms == pytest.approx(2 * quiet.rms, rel=0.01)
    assert loud.true_peak <= 10 ** (-1 / 20) + 1e-3
    assert list(domain.preview({"alone": clean})) == [".png"]


@pytest.mark.parametrize("name", ["fsdd", "speech_kerstin16k", "music_real"])
def test_real_recordings_are_read_and_come_back(
    shared_data: Callable[[str], Path], tmp_path: Path, domain: AudioDomain, name: str
) -> None:
    files = sorted(path for path in shared_data(name).rglob("*") if domain.reads(path))[:5]
    assert len(files) == 5
    for path in files:
        assert len(domain.read(path).examples) > 0
        map_file(domain, path, tmp_path / "a.wav", identity)
        before, after = read_sound(path)[0], read_sound(tmp_path / "a.wav")[0]
        assert before.shape == after.shape
        assert np.abs(np.clip(before, -1, 1) - after).max() < 2**-15 + 1e-6


@pytest.mark.parametrize(
    ("task", "representation"), [("denoise", "magnitude"), ("denoise", "top"), ("upscale", "spectrum")]
)
def test_a_representation_that_does_not_fit_the_task_is_refused(task: str, representation: str) -> None:
    by_task = {"denoise": "spectrum", "upscale": "top"}
    assert AudioDomain.configure(AudioConfig(), [], task).representation == by_task[task]
    with pytest.raises(MusicaeError, match="leave it out"):
        AudioDomain.configure(AudioConfig(representation=representation), [], task)


@pytest.mark.parametrize(("rate_hz", "expected"), [(16_000, (16_000, 1024, 2.0)), (44_100, (48_000, 3072, 4.0))])
def test_restorers_see_the_whole_band_that_most_files_have(
    tmp_path: Path, rate_hz: int, expected: tuple[int, int, float]
) -> None:
    files = [tmp_path / f"{number}.wav" for number in range(3)]
    for number, path in enumerate(files):
        write_sound(music(0.5, rate_hz if number else 8_000), path, rate_hz if number else 8_000)

    found = AudioDomain.configure(AudioConfig(), files, "denoise")

    assert (found.sample_rate_hz, found.n_fft, found.chunk_s) == expected
    stated = AudioDomain.configure(AudioConfig(sample_rate_hz=16_000), files, "denoise")
    assert (stated.sample_rate_hz, stated.n_fft) == (16_000, 1024)
    assert AudioDomain.configure(AudioConfig(), files, "reconstruct").sample_rate_hz == 16_000


def test_a_handful_of_recordings_alone_leaves_made_noise_to_validation(tmp_path: Path) -> None:
    write_sound(music(1.0, 16_000), tmp_path / "only.wav", 16_000)
    domain = AudioDomain(AudioConfig(noise=(str(tmp_path),), families=(), n_fft=512, chunk_s=0.5))

    corruption = domain.corruption("denoise", split="validation")

    assert corruption is not None
    clean = torch.zeros(4, *domain.spec.shape)
    assert (corruption(clean, torch.Generator().manual_seed(0)) - clean).abs().sum() > 0
