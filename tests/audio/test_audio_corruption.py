"""Noise has the colour, level and randomness it claims, and its recordings are split by name."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sound_files import resampled, write_sound

from musicae.audio import stft as signal
from musicae.audio.corruption import AddNoise, CutBand, mix_at_snr
from musicae.audio.noise import NOISES
from musicae.audio.noise_recordings import NoiseRecordings, noise_files, split_of_noise, without_silence
from musicae.errors import MusicaeError

RATE_HZ, N_FFT = 16_000, 512
SAMPLES = 247 * 128


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def level(waveform: torch.Tensor) -> list[float]:
    return signal.rms(waveform)[:, 0].tolist()


def white(rows: int, samples: int) -> torch.Tensor:
    return NOISES["white"](rows, samples, seeded(), sample_rate_hz=RATE_HZ)


def add_noise(**options: object) -> AddNoise:
    settings = {
        "sample_rate_hz": RATE_HZ, "n_fft": N_FFT, "chunk_samples": SAMPLES, "snr_db_range": (5.0, 5.0),
        "silent_power": 1.0,
    }  # fmt: skip
    return AddNoise(**(settings | options))  # type: ignore[arg-type]


def clean_spectra(rows: int) -> torch.Tensor:
    """Chords, steady from end to end."""
    time_s = torch.arange(SAMPLES) / RATE_HZ
    pitch_hz = 200.0 + 20 * torch.arange(rows)[:, None]
    sound = sum(torch.sin(2 * math.pi * pitch_hz * ratio * time_s) for ratio in (1.0, 1.25, 1.5))
    return signal.stft(0.05 * sound, n_fft=N_FFT)


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 5.0, 20.0])
@pytest.mark.parametrize("recorded", [False, True])
def test_the_ratio_asked_for_is_measured_in_the_waveforms(snr_db: float, recorded: bool) -> None:
    rain = np.random.default_rng(0).standard_normal(50_000).astype(np.float32)
    recordings = NoiseRecordings([rain]) if recorded else None
    clean = clean_spectra(32)

    noisy = add_noise(snr_db_range=(snr_db, snr_db), recordings=recordings)(clean, seeded())

    before, after = (signal.inverse_stft(batch, samples=SAMPLES) for batch in (clean, noisy))
    measured = 20 * torch.log10(signal.rms(before) / signal.rms(after - before))[:, 0]
    assert (measured - snr_db).abs().median() < 0.05
    # A click beside the edge is in fewer frames than the others.
    assert (measured - snr_db).abs().max() < 1.5


def test_pauses_do_not_lower_the_noise() -> None:
    steady = clean_spectra(4)
    paused = steady.clone()
    paused[..., 128:] = 0  # the second half is a pause
    noise = signal.stft(white(4, SAMPLES), n_fft=N_FFT)
    five = torch.full((4,), 5.0)

    to_steady = mix_at_snr(steady, noise, five, silent_power=1.0) - steady
    to_paused = mix_at_snr(paused, noise, five, silent_power=1.0) - paused

    # The paused one has more than half the energy missing, and the same noise.
    assert torch.allclose(to_steady, to_paused, rtol=0.05, atol=1e-3)


def test_infinite_ratio_leaves_the_row_as_it_was() -> None:
    clean = clean_spectra(2)
    noise = signal.stft(white(2, SAMPLES), n_fft=N_FFT)

    mixed = mix_at_snr(clean, noise, torch.tensor([torch.inf, 0.0]), silent_power=1.0)

    assert torch.equal(mixed[0], clean[0])
    assert not torch.allclose(mixed[1], clean[1], atol=0.1)


def test_silence_gets_noise_of_the_nominal_level() -> None:
    noisy = add_noise(snr_db_range=(0.0, 0.0), silent_power=2.0)(torch.zeros(4, 2, 257, 248), seeded())

    assert signal.frame_power(noisy).mean(1).tolist() == pytest.approx([2.0] * 4, rel=1e-3)


def test_equal_seeds_give_equal_noise_and_others_fresh_noise() -> None:
    clean, corruption = clean_spectra(8), add_noise(snr_db_range=(-5.0, 20.0))

    first, again, other = (corruption(clean, seeded(seed)) for seed in (1, 1, 2))

    assert torch.equal(first, again)
    assert all(not torch.allclose(one, two, atol=1e-3) for one, two in zip(first, other, strict=True))


def test_one_generator_draws_new_noise_each_time() -> None:
    clean, corruption, generator = clean_spectra(4), add_noise(), seeded()

    assert not torch.equal(corruption(clean, generator), corruption(clean, generator))


def test_the_share_of_clean_rows_is_kept() -> None:
    clean, corruption = clean_spectra(64), add_noise(clean_share=0.25)
    generator = seeded()

    untouched = sum(int((corruption(clean, generator) == clean).flatten(1).all(1).sum()) for _ in range(4))

    assert 0.15 * 256 < untouched < 0.35 * 256


@pytest.mark.parametrize("asked", [0.0, 0.5, 0.65, 1.0])
def test_recordings_make_up_their_share_of_the_noise(asked: float) -> None:
    """A recording of one frequency can be told from every other noise."""
    tone = np.sin(2 * np.pi * 3_000 * np.arange(40_000) / RATE_HZ).astype(np.float32)
    clean = torch.zeros(200, 2, 257, 248)

    noisy = add_noise(recordings=NoiseRecordings([tone]), recorded_share=asked)(clean, seeded())

    power = noisy.pow(2).sum(1).mean(2)
    share = (power[:, 94:99].sum(1) / power.sum(1) > 0.9).float().mean()
    # A fifth of those rows has louder noise of a second family than a tenth of its own.
    assert 0.6 * asked <= share <= 1.1 * asked


def test_only_the_families_asked_for_are_drawn() -> None:
    noisy = add_noise(families=("hum",))(torch.zeros(50, 2, 257, 248), seeded())

    power = noisy.pow(2).sum(1).mean(2)
    assert (power[:, 26:].sum(1) / power.sum(1)).max() < 0.02  # twelve harmonics of 60 Hz end at 720
    with pytest.raises(ValueError, match="neither"):
        add_noise(families=())


def ends(cut: torch.Tensor) -> torch.Tensor:
    """How many frequencies each row holds, int64 `(rows,)`."""
    return (cut != 0).any(3).any(1).sum(1)


def test_a_cut_band_is_gone_and_what_lies_below_is_untouched() -> None:
    clean = signal.stft(torch.randn(20, 16_000, generator=seeded()), n_fft=N_FFT)

    cut = CutBand(sample_rate_hz=16_000, n_fft=N_FFT, chunk_samples=RATE_HZ)(clean, seeded())

    known = ends(cut)
    lowest, highest = (hz * N_FFT / 16_000 for hz in (CutBand.LOWEST_HZ, 6_000))
    assert known.min() >= lowest - 1
    assert known.max() <= highest + 1
    assert known.float().std() > 5  # drawn anew for each
    middle = slice(8, -8)  # at the ends of a chunk the sound begins and stops
    for row, end in enumerate(known.tolist()):
        below = slice(0, int(0.8 * end))
        assert (cut - clean)[row, :, below, middle].abs().max() < 1e-3 * clean.abs().max()


def test_what_ends_low_already_is_cut_below_its_own_end_or_left() -> None:
    clean = signal.stft(torch.randn(40, 16_000, generator=seeded()), n_fft=N_FFT)
    clean[:20, :, N_FFT * 5 // 16 :] = 0  # at 5 kHz
    clean[20:, :, N_FFT * 3 // 16 :] = 0

    cut = CutBand(sample_rate_hz=16_000, n_fft=N_FFT, chunk_samples=RATE_HZ)(clean, seeded())

    assert ends(cut)[:20].max() <= 0.75 * N_FFT * 5 / 16 + 1
    assert torch.equal(cut[20:], clean[20:])


def test_a_converter_falls_as_a_cut_band_may() -> None:
    impulse = np.zeros(16_000, np.float32)
    impulse[8_000] = 1
    there_and_back = np.abs(np.fft.rfft(resampled(resampled(impulse, 16_000, 8_000), 8_000, 16_000)))

    cut = CutBand(sample_rate_hz=16_000, n_fft=N_FFT, chunk_samples=RATE_HZ)
    spectra = signal.stft(torch.from_numpy(impulse).repeat(400, 1), n_fft=N_FFT)
    given = cut(spectra, seeded())
    fallen = torch.fft.rfft(signal.inverse_stft(given, samples=RATE_HZ)).abs()  # (rows, hertz)
    end_hz = ends(given) * 16_000 / N_FFT

    for share in (0.925, 0.95, 0.97):
        row_hz = (share * end_hz).long()
        own = fallen.gather(1, row_hz[:, None])
        assert own.min() - 0.02 <= there_and_back[round(share * 4_000)] <= own.max() + 0.02


def test_crops_are_pieces_of_the_recordings_from_many_places() -> None:
    ramp = np.linspace(1, 2, 10_000).astype(np.float32)
    recordings = NoiseRecordings([ramp, -ramp])

    crops = recordings.crop(200, 100, seeded())

    assert crops.shape == (200, 100)
    assert 60 < int((crops[:, 0] > 0).sum()) < 140  # both recordings
    slope = (crops[:, 1:] - crops[:, :-1]).sign() * crops[:, 1:].sign()
    assert (slope >= 0).all()  # no crop runs over the end
    assert len(crops[:, 0].unique()) > 50


def test_short_recordings_are_repeated() -> None:
    recordings = NoiseRecordings([np.array([1.0, -1.0, 1.0], np.float32)])

    crops = recordings.crop(4, 9, seeded())

    assert torch.equal(crops[:, :3], crops[:, 3:6])
    assert torch.equal(crops[:, :3], crops[:, 6:9])


def test_recordings_have_one_level_whatever_the_file() -> None:
    quiet, loud = (np.random.default_rng(n).standard_normal(20_000).astype(np.float32) for n in (1, 2))

    crops = NoiseRecordings([1e-4 * quiet, 0.9 * loud]).crop(50, 10_000, seeded())

    assert level(crops) == pytest.approx([1.0] * 50, abs=0.05)


def test_folders_are_drawn_evenly_however_many_recordings_they_have_where_that_is_asked_for(tmp_path: Path) -> None:
    for number in range(9):
        write_sound(np.full(4_000, 0.2, np.float32), tmp_path / "often" / f"{number}.wav", RATE_HZ, subtype="FLOAT")
    write_sound(np.full(4_000, -0.2, np.float32), tmp_path / "seldom" / "0.wav", RATE_HZ, subtype="FLOAT")

    for by_folder, share in ((True, 0.5), (False, 0.9)):
        recordings = NoiseRecordings.read(noise_files([tmp_path]), RATE_HZ, by_folder=by_folder)
        assert recordings is not None
        crops = recordings.crop(1_000, 10, seeded())
        assert (crops[:, 0] > 0).float().mean() == pytest.approx(share, abs=0.06)


def test_weights_that_do_not_fit_the_recordings_are_refused() -> None:
    noise = np.ones(10, np.float32)
    with pytest.raises(ValueError, match="a weight for each of 3 recordings, got 2"):
        NoiseRecordings([noise] * 3, [1.0, 2.0])


@pytest.mark.parametrize("recorded", [1, 2, 3, 999])
@pytest.mark.parametrize("samples", [1, 2, 501])
def test_variation_takes_any_lengths(recorded: int, samples: int) -> None:
    noise = np.random.default_rng(0).standard_normal(recorded).astype(np.float32)
    crops = NoiseRecordings([noise]).crop(50, samples, seeded(), varied=True)
    assert crops.shape == (50, samples)
    assert torch.isfinite(crops).all()


@pytest.mark.parametrize("recorded", [10_003, 20_000_003])
def test_varied_pieces_have_no_seam_and_are_exact_in_long_recordings(recorded: int) -> None:
    """A period of 16 samples, which the end of the recording would break, as places in single precision would."""
    period = np.sin(2 * np.pi * np.arange(16) / 16).astype(np.float32)
    crops = NoiseRecordings([np.resize(period, recorded)]).crop(200, 4_000, seeded(), varied=True)

    is_kept = (crops[:, 16:32] == crops[:, :16]).all(1)
    assert 70 < int(is_kept.sum()) < 130
    assert (crops[is_kept, 16:] == crops[is_kept, :-16]).all()
    # A sine goes on as its last two samples say; straight lines between samples miss that by a little.
    before, here, after = crops[:, :-2], crops[:, 1:-1], crops[:, 2:]
    turn = (here * (before + after)).sum(1, keepdim=True) / here.square().sum(1, keepdim=True)
    assert (before + after - turn * here)[:, 20:-20].abs().max() < 0.25


def test_half_of_varied_pieces_are_as_recorded_and_the_others_faster_slower_and_coloured() -> None:
    time_s = np.arange(RATE_HZ) / RATE_HZ
    tones = sum(np.sin(2 * np.pi * hertz * time_s) for hertz in (500, 2_000))
    recordings = NoiseRecordings([tones.astype(np.float32)])

    spectra = torch.fft.rfft(recordings.crop(400, RATE_HZ, seeded(), varied=True)).abs()  # (rows, hertz)

    low, high = spectra[:, 250:1_000], spectra[:, 1_000:4_000]
    pitch_octaves = torch.log2((250 + low.argmax(1)) / 500)
    changed = pitch_octaves.abs() > 0.01
    assert changed.float().mean() == pytest.approx(0.5, abs=0.08)
    assert 0.6 < pitch_octaves.max() <= 0.7
    assert -0.7 <= pitch_octaves.min() < -0.6
    balance_db = 20 * torch.log10(low.amax(1) / high.amax(1))
    assert balance_db[~changed].abs().median() < 0.01
    assert balance_db[changed].std() > 3
    assert (1_000 + high.argmax(1)).div(250 + low.argmax(1)).sub(4).abs().max() < 0.02  # both tones moved together


def test_variation_keeps_the_level() -> None:
    rng = np.random.default_rng(0)
    recordings = NoiseRecordings([rng.standard_normal(3 * RATE_HZ).astype(np.float32)])

    assert level(recordings.crop(100, RATE_HZ, seeded(), varied=True)) == pytest.approx([1.0] * 100, abs=0.05)


def test_silent_parts_are_left_out() -> None:
    rain = np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32)
    silence = np.zeros(3 * RATE_HZ, np.float32)

    active = without_silence(np.concatenate((silence, rain, silence + 1e-6)), RATE_HZ)

    assert abs(len(active) - RATE_HZ) <= 0.04 * RATE_HZ
    assert len(without_silence(silence, RATE_HZ)) == 0
    assert len(without_silence(silence[:0], RATE_HZ)) == 0


def test_splits_share_no_recording_and_keep_takes_together() -> None:
    names = [Path(f"{fold}-{clip}-{take}.ogg") for fold in range(5) for clip in range(1000, 1100) for take in "AB"]

    split = {name: split_of_noise(name) for name in names}

    for name in names:
        other_take = Path(name.name.replace("-A.", "-B."))
        assert split[name] == split[other_take]
        assert split_of_noise(Path("elsewhere") / name) == split[name]
    counts = {part: sum(value == part for value in split.values()) / len(names) for part in set(split.values())}
    assert counts["train"] == pytest.approx(0.8, abs=0.05)
    assert counts["validation"] == pytest.approx(0.1, abs=0.04)
    assert counts["test"] == pytest.approx(0.1, abs=0.04)


def test_noise_files_are_found_in_folders_and_files(tmp_path: Path) -> None:
    for name in ("a.wav", "deep/b.wav"):
        write_sound(np.zeros(10, np.float32), tmp_path / name, 8_000)
    (tmp_path / "notes.txt").write_text("not a sound")

    assert noise_files([tmp_path]) == [tmp_path / "a.wav", tmp_path / "deep" / "b.wav"]
    assert noise_files([str(tmp_path / "a.wav"), tmp_path]) == noise_files([tmp_path])
    with pytest.raises(MusicaeError, match="do not exist"):
        noise_files([tmp_path / "gone"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(MusicaeError, match="no sound files"):
        noise_files([tmp_path / "empty"])


def test_damaged_and_silent_recordings_are_left_out(tmp_path: Path) -> None:
    write_sound(np.zeros(8_000, np.float32), tmp_path / "silent.wav", 8_000)
    write_sound(np.full(8_000, 0.5, np.float32) * np.resize([1, -1], 8_000), tmp_path / "good.wav", 8_000)
    (tmp_path / "text.wav").write_text("not a sound")

    recordings = NoiseRecordings.read(noise_files([tmp_path]), 8_000)

    assert recordings is not None
    assert len(recordings) == 1
    assert NoiseRecordings.read([tmp_path / "silent.wav"], 8_000) is None


def test_real_recordings_give_noise_everywhere(shared_data: Callable[[str], Path]) -> None:
    """Many of these clips end in silence, which must not reach a training example."""
    folder = shared_data("noise_esc10")
    recordings = NoiseRecordings.read(noise_files([folder])[:40], RATE_HZ)
    assert recordings is not None

    crops = recordings.crop(100, RATE_HZ, seeded())

    assert min(level(crops)) > 0.01


@pytest.mark.gpu
def test_noise_is_drawn_on_the_gpu() -> None:
    rain = np.random.default_rng(0).standard_normal(50_000).astype(np.float32)
    corruption = add_noise(recordings=NoiseRecordings([rain]), snr_db_range=(-5.0, 20.0), clean_share=0.1)
    clean = clean_spectra(8).cuda()

    first, again = (corruption(clean, torch.Generator("cuda").manual_seed(1)) for _ in range(2))

    assert first.device == clean.device
    assert torch.equal(first, again)
