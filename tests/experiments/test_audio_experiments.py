"""Measurements of sound: clips, scores and gains are what they say; nothing is both trained and measured on."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pretty_midi
import pytest
import soundfile
import torch

from musicae.audio.domain import AudioDomain
from musicae.models import build_model
from musicae.nn.correction import MaskCorrection

RATE_HZ, WIDE_HZ = 16_000, 48_000


@pytest.fixture
def sound_choices(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("sound_choices")


@pytest.fixture
def denoisers(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("denoisers")


@pytest.fixture
def audio_sets(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("audio_sets")


def test_what_modules_say_of_their_choices_is_what_was_measured(
    sound_choices: ModuleType, script: Callable[[str], ModuleType]
) -> None:
    """The docstrings of overlap_add, precision and noise_profile."""
    results = script("stored").read("audio-choices")
    assert list(results) == list(sound_choices.CHOICES)
    assert max(row["255 frames"] for row in results["overlap"].values()) < -58
    assert max(row["191 frames"] for row in results["overlap"].values()) > -50  # so no shorter overlap would do
    assert all(row["difference, dB"] < -59 and row["time, %"] < 80 for row in results["precision"].values())
    for noise, least_db, most_db in (("whine", 9, 12), ("mean, steady", 1, 3), ("pink", -1, 0), ("mean, rooms", 0, 1)):
        row = results["profile"][noise]
        helped_db = [row[f"profile, {ratio} dB"] - row[f"alone, {ratio} dB"] for ratio in (0, 5, 10)]
        assert least_db < min(helped_db) <= max(helped_db) < most_db


def clip(group: str, name: str, clean: np.ndarray, noise: np.ndarray, script: Callable[[str], ModuleType]) -> Any:
    return script("sound_clips").Clip(group, "rain", name, clean, noise)


def test_a_clip_is_mixed_at_the_ratio_asked_for(script: Callable[[str], ModuleType]) -> None:
    rng = np.random.default_rng(0)
    clean, noise = (scale * rng.standard_normal(RATE_HZ).astype(np.float32) for scale in (0.3, 0.01))
    made = clip("speech, en", "a", clean, noise, script)
    for ratio_db in (-3.0, 0.0, 10.0):
        added = made.noisy(ratio_db) - clean
        assert 10 * np.log10(np.mean(clean**2) / np.mean(added**2)) == pytest.approx(ratio_db, abs=0.01)


def test_gains_are_summed_up_by_group_with_intervals_over_files(
    denoisers: ModuleType, script: Callable[[str], ModuleType]
) -> None:
    rng = np.random.default_rng(0)
    clips = []
    for number in range(4):
        clean, noise = (rng.standard_normal(WIDE_HZ).astype(np.float32) for _ in range(2))
        clips.append(clip("music, real", f"tune {number // 2}", clean, noise, script))
    methods = {"noisy": lambda noisy, clean: noisy, "half": lambda noisy, clean: 0.5 * (noisy + clean)}
    found = denoisers.compared(methods, clips)
    assert set(found) == {"music, real", "music", "music in rain"}
    for row in found.values():
        assert set(row) == {"0 dB", "5 dB", "10 dB"}
        half = row["5 dB"]["half"]
        assert half["gain_db"] == pytest.approx(6.02, abs=0.1)  # half of the noise is 6 dB less
        assert half["gain_db_low"] <= half["gain_db"] <= half["gain_db_high"]
        assert (half["better"], half["clips"]) == (1.0, 4)
        assert row["5 dB"]["noisy"]["gain_db"] == 0


def test_a_model_is_put_through_chunk_by_chunk_as_it_is_at_once(sound_choices: ModuleType) -> None:
    torch.manual_seed(0)
    domain = AudioDomain(AudioDomain.Config(n_fft=256, chunk_s=0.5))

    class HalvingNetwork:
        def reconstruct(self, shown: torch.Tensor) -> torch.Tensor:
            return 0.5 * shown

    class Halving:
        network = HalvingNetwork()

    Halving.domain = domain
    samples = (0.1 * np.random.default_rng(0).standard_normal(40 * RATE_HZ)).astype(np.float32)
    framing = sound_choices._framing(Halving)
    result = sound_choices._mapped(samples, Halving, framing)
    assert sound_choices._difference_db(result, 0.5 * samples) < -60


def test_a_mask_is_shifted_to_where_the_likelihood_is_highest(script: Callable[[str], ModuleType]) -> None:
    calibration = script("calibration")
    torch.manual_seed(0)
    domain = AudioDomain(AudioDomain.Config(n_fft=256, chunk_s=0.5))
    model = build_model("unet", domain.spec, {"widths": (8, 8), "latent_size": 4}).eval()
    torch.nn.init.normal_(model.decoder.head[-1].weight, std=0.01)
    torch.nn.init.constant_(model.decoder.head[-1].bias, -1)
    noisy, at_neutral = torch.randn(3, *domain.spec.shape), torch.sigmoid(torch.tensor(MaskCorrection.STEEPNESS))
    with torch.no_grad():
        mask = (model.reconstruct(noisy) / noisy).nan_to_num(0.5)[:, :1] * at_neutral
        clean = noisy * torch.sigmoid(torch.logit(mask) - 0.6) / at_neutral  # a network that lets too much through

    losses = calibration.shifted_losses(model, noisy, clean)
    assert min(losses, key=losses.__getitem__) == -0.6
    with torch.no_grad():
        assert losses[0.0] == pytest.approx(-float(model.likelihood.log_prob(model.reconstruct(noisy), clean).sum()))

    calibration.shift_mask(model, -0.6)
    with torch.no_grad():
        torch.testing.assert_close(model.reconstruct(noisy), clean, atol=1e-4, rtol=1e-4)


def test_nothing_is_both_trained_on_and_judged_on(audio_sets: ModuleType) -> None:
    programs = [audio_sets.program_split(number) for number in range(112)]
    assert programs.count("test") == 14
    assert not set(audio_sets.NOISE["train"]) & set(audio_sets.NOISE["test"])
    assert not set(audio_sets.font_programs()) & {number for number in range(112) if programs[number] == "test"}
    assert not set(audio_sets.font_programs()) & {4, 5, 44, 45, 111}  # electric pianos, tremolo, pizzicato, shanai
    names = [f"tune {number}.mid" for number in range(1000)]
    assert 60 < sum(audio_sets.is_test(name, 10) for name in names) < 140


def test_steady_tones_leave_the_tone_alone_that_is_asked_for(audio_sets: ModuleType) -> None:
    for _, samples in islice(audio_sets.steady_tones(), 40):
        power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
        frequency_hz = np.fft.rfftfreq(len(samples), 1 / WIDE_HZ)
        near = np.abs(np.log2(frequency_hz.clip(1) / 440)) < 1 / 13
        assert power[near].max() < 1e-6 * power.max()


def test_another_font_plays_what_is_written(audio_sets: ModuleType) -> None:
    pytest.importorskip("midirenderer")
    font = (Path(pretty_midi.__file__).parent / "TimGM6mb.sf2").read_bytes()
    events = [audio_sets.Event(0, 0.0, 1.0, 69, 100), audio_sets.Event(1, 1.0, 2.0, 57, 100)]
    midi = audio_sets.arranged(events, [73, 42], None)  # flute, then cello
    samples = audio_sets.rendered_with(font)(midi)
    assert np.array_equal(samples, audio_sets.rendered_with(font)(midi))
    with pytest.raises(Exception, match=r"SoundFont|RIFF|Malformed"):
        audio_sets.rendered_with(b"not a font")(midi)
    assert 2.5 * WIDE_HZ < len(samples) < 3.5 * WIDE_HZ
    for start_s, hz in ((0.2, 440.0), (1.2, 220.0)):
        part = samples[round(start_s * WIDE_HZ) :][: WIDE_HZ // 2]
        partials = np.abs(np.fft.rfft(part * np.hanning(len(part))))
        assert 2 * (200 // 2 + partials[200 // 2 : 500 // 2].argmax()) == pytest.approx(hz, abs=4)


def test_short_sounds_are_joined_and_long_ones_taken_apart(script: Callable[[str], ModuleType]) -> None:
    free = script("debian_sounds")
    short = [(f"short {number}", np.full(WIDE_HZ, 0.1 * number, np.float32)) for number in range(1, 16)]
    long = [("long", np.full(25 * WIDE_HZ, 0.5, np.float32))]
    found = dict(free.bustle(iter([*short[:5], *long, *short[5:]])))
    assert {name: len(samples) for name, samples in found.items() if name.startswith("long")} == {
        "long-A": 10 * WIDE_HZ,
        "long-B": 10 * WIDE_HZ,
    }
    joined = found["short_00"]
    assert 10 * WIDE_HZ <= len(joined) < 11.5 * WIDE_HZ
    levels = {round(float(level), 4) for level in joined if level}
    assert 7 <= len(levels) <= 10  # as many sounds, each at a level of its own
    assert min(levels) >= 0.3


def test_a_catalogue_of_sounds_is_taken_apart(script: Callable[[str], ModuleType]) -> None:
    parts = [(b'"Sawmill". By A. Licence: CC0.\0', b"RIFF one"), (b"plain\0", b"RIFF second")]
    start, table, body = 8 * len(parts), b"", b""
    for description, sound in parts:
        flag = 0x80000000 if not table else 0
        table += (start + len(body) | flag).to_bytes(4, "little") + len(sound).to_bytes(4, "little")
        body += bytes([len(description)]) + description + sound
    found = list(script("debian_sounds").bundled(table + body + b"rest"))
    assert found == [("Sawmill", b"RIFF one"), ("plain", b"RIFF second")]


def test_a_sampler_plays_the_pitch_and_stops_when_the_note_does(audio_sets: ModuleType, tmp_path: Path) -> None:
    time_s = np.arange(3 * WIDE_HZ) / WIDE_HZ
    soundfile.write(tmp_path / "a.flac", 0.5 * np.sin(2 * np.pi * 440 * time_s), WIDE_HZ)
    sampler = audio_sets.Sampler({tmp_path / "a.flac": 69.0})
    for pitch, hz in ((69, 440.0), (72, 523.25), (81, 440.0)):  # an octave up is out of reach and moved back
        sound = sampler.note(pitch, 1.0)
        spectrum = np.abs(np.fft.rfft(sound[: WIDE_HZ // 2]))
        assert 2 * spectrum.argmax() == pytest.approx(hz, abs=3)
        assert len(sound) == pytest.approx(1.4 * WIDE_HZ, abs=2)
        assert abs(sound[-1]) < 0.01


def test_names_of_notes_say_their_pitch(script: Callable[[str], ModuleType]) -> None:
    pitch_of = script("instruments").pitch_of
    named = {
        "cello/Gb4_p2.ogg": 78, "guitar/a2_mf_rr3.ogg": 45, "electric_bass/a1_fff_rr4.ogg": 21, "piano/FF_As2.ogg": 58,
        "electric_piano/046-As2-F.ogg": 46, "electric_piano/db5mp.ogg": 73, "electric_piano/29_F1_FF.ogg": 29,
        "double_bass/pizz_bb1_fb.ogg": 34, "upright_piano/HEADROOM_PIANO_LEVEL2_CLOSE_81.ogg": 81,
        "upright_bass/perc8_rr3.ogg": None, "drum_kit/9-Tom4-OHL.ogg": None, "piano/PP_B-1.ogg": 23,
    }  # fmt: skip
    assert {name: pitch_of(Path(name)) for name in named} == named


def test_a_voice_with_noise_behind_it_is_not_clean(script: Callable[[str], ModuleType]) -> None:
    voices, rng = script("voices"), np.random.default_rng(0)
    time_s = np.arange(2 * WIDE_HZ) / WIDE_HZ
    voice = np.sin(2 * np.pi * 200 * time_s) * (np.sin(2 * np.pi * 2 * time_s) > 0)
    assert voices.is_clean(voice)
    assert not voices.is_clean(voice + 0.05 * rng.standard_normal(len(voice)))
    assert not voices.is_clean(np.sin(2 * np.pi * 200 * time_s))  # without a pause nothing is known
    moved = voices.as_other_speaker(voice.astype(np.float32), rng)
    assert 0.74 < len(moved) / len(voice) < 1.35
    assert len(moved) != len(voice)
    mixed = voices.babble([voice.astype(np.float32)], rng)
    assert np.abs(mixed).max() == pytest.approx(1)


def test_bands_of_stereo_are_measured_apart(script: Callable[[str], ModuleType]) -> None:
    clips, rng = script("sound_clips"), np.random.default_rng(0)
    rate_hz = clips.STEREO_RATE_HZ
    clean = rng.standard_normal((rate_hz, 2))
    time_s = np.arange(rate_hz) / rate_hz
    tone = 0.2 * np.sin(2 * np.pi * 6_000 * time_s)[:, None]
    low, second, third, high = clips.band_ratios_db(clean + tone, clean)
    assert min(low, third, high) > 60 > 20 > second
    expected = 10 * np.log10(2 * 4_000 / (rate_hz / 2) / (2 * 0.02))
    assert second == pytest.approx(expected, abs=0.3)
    levels = np.subtract(clips.band_levels_db(0.5 * clean), clips.band_levels_db(clean))
    assert levels == pytest.approx([-6.02] * 4, abs=0.01)
