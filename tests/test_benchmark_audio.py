"""The tables of sound: that the README quotes what was measured, and that clips and scores are what they say."""

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import ModuleType

import numpy as np
import pretty_midi
import pytest
import soundfile
import torch

from musicae.audio.domain import AudioDomain
from musicae.models import build_model

ROOT = Path(__file__).resolve().parent.parent
RATE_HZ = 16_000


@pytest.fixture
def audio(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("audio")


@pytest.fixture
def noisy_clips(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("noisy_clips")


@pytest.fixture
def players(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("players")


@pytest.fixture
def sound_sets(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("sound_sets")


def test_the_readme_quotes_the_tables_as_they_were_measured(audio: ModuleType) -> None:
    results = json.loads(audio.RESULTS.read_text())
    assert set(results) == set(audio.PARTS)
    tables = audio.tables(results)
    assert tables.count("\n|---|") == 5
    assert tables in (ROOT / "README.md").read_text(encoding="utf-8")


def test_what_modules_say_of_their_choices_is_what_was_measured(script: Callable[[str], ModuleType]) -> None:
    """The docstrings of chunking, precision, noise_profile and audio_forms."""
    choices = script("sound_choices")
    results = json.loads(choices.RESULTS.read_text())
    assert list(results) == list(choices.PARTS)
    assert max(row["191 frames"] for row in results["overlap"].values()) < -60
    assert max(row["127 frames"] for row in results["overlap"].values()) > -60  # so no shorter overlap would do
    assert all(row["difference, dB"] < -55 and row["time, %"] < 80 for row in results["precision"].values())
    for noise, least_db, most_db in (("whine", 8, 11), ("mean, steady", 1, 2), ("pink", -1, 0), ("mean, rooms", -1, 0)):
        row = results["profile"][noise]
        helped_db = [row[f"profile, {ratio} dB"] - row[f"alone, {ratio} dB"] for ratio in (0, 5, 10)]
        assert least_db < min(helped_db) <= max(helped_db) < most_db
    for row in results["phases"].values():
        assert 0.2 < row["0 iterations"] - row["16 iterations"] < 1
        assert row["16 iterations"] - row["32 iterations"] < 0.3


def test_a_clip_is_mixed_at_the_ratio_asked_for(noisy_clips: ModuleType) -> None:
    rng = np.random.default_rng(0)
    clean, noise = (scale * rng.standard_normal(RATE_HZ).astype(np.float32) for scale in (0.3, 0.01))
    clip = noisy_clips.Clip("speech", "a", clean, noise)
    for ratio_db in (-3.0, 0.0, 10.0):
        added = clip.noisy(ratio_db) - clean
        assert 10 * np.log10(np.mean(clean**2) / np.mean(added**2)) == pytest.approx(ratio_db, abs=0.01)


def test_scores_do_not_hang_on_the_level(noisy_clips: ModuleType) -> None:
    rng = np.random.default_rng(0)
    clean = np.sin(np.arange(2 * RATE_HZ) / 7).astype(np.float32)
    estimate = (clean + 0.1 * rng.standard_normal(len(clean))).astype(np.float32)
    plain, softer = (noisy_clips.score(gain * estimate, clean, is_speech=False) for gain in (1.0, 0.05))
    assert plain["si_sdr_db"] == pytest.approx(17.0, abs=0.2)
    assert softer == pytest.approx(plain, rel=1e-3)
    perfect = noisy_clips.score(clean, clean, is_speech=False)
    assert perfect["log_mel_l1"] == pytest.approx(0, abs=1e-4)


def test_gains_on_validation_clips_are_means_over_clips_and_ratios(
    script: Callable[[str], ModuleType], noisy_clips: ModuleType
) -> None:
    validation = script("validation_gains")
    rng = np.random.default_rng(0)
    clean, noise = (rng.standard_normal(RATE_HZ).astype(np.float32) for _ in range(2))
    clip = noisy_clips.Clip("voice", "a", clean, noise)
    found = [(sound, kind, clip) for sound in validation.SOUNDS for kind in validation.NOISES for _ in range(2)]
    half = validation.gains(found, lambda noisy: 0.5 * (noisy + clean))  # half of the noise is 6 dB less
    assert set(half) == set(validation.SOUNDS)
    assert all(gain == pytest.approx(6.02, abs=0.1) for row in half.values() for gain in row.values())
    quarter = validation.gains(found, lambda noisy: 0.25 * noisy + 0.75 * clean)
    lines = validation.table({"half": half, "quarter": quarter}).splitlines()
    assert lines[0] == "| gain, dB | half | quarter |"
    assert lines[2] == "| voice, weather and machines | 6.0 | 12.0 |"
    assert len(lines) == 2 + len(validation.SOUNDS) * len(validation.NOISES)


def test_a_mask_is_shifted_to_where_the_likelihood_is_highest(script: Callable[[str], ModuleType]) -> None:
    calibration = script("calibration")
    torch.manual_seed(0)
    domain = AudioDomain(AudioDomain.Config(n_fft=256, chunk_s=0.5))
    model = build_model("unet", domain.spec, {"widths": (8, 8), "latent_size": 4}).eval()
    noisy = torch.randn(3, *domain.spec.shape)
    with torch.no_grad():
        mask = (model.reconstruct(noisy) / noisy).nan_to_num(0.5)[:, :1]
        clean = noisy * torch.sigmoid(torch.logit(mask) - 0.6)  # a network that lets too much through

    losses = calibration.shifted_losses(model, noisy, clean)
    assert min(losses, key=losses.__getitem__) == -0.6
    with torch.no_grad():
        assert losses[0.0] == pytest.approx(-float(model.likelihood.log_prob(model.reconstruct(noisy), clean).sum()))

    calibration.shift_mask(model, -0.6)
    with torch.no_grad():
        torch.testing.assert_close(model.reconstruct(noisy), clean, atol=1e-4, rtol=1e-4)


def test_nothing_is_both_trained_on_and_judged_on(sound_sets: ModuleType) -> None:
    programs = [sound_sets.program_split(number) for number in range(112)]
    assert programs.count("test") == 14
    assert not set(sound_sets.NOISE["train"]) & set(sound_sets.NOISE["test"])
    assert not set(sound_sets.font_programs()) & {number for number in range(112) if programs[number] == "test"}
    assert not set(sound_sets.font_programs()) & {4, 5, 44, 45, 111}  # electric pianos, tremolo, pizzicato, shanai
    names = [f"tune {number}.mid" for number in range(1000)]
    assert 60 < sum(sound_sets.is_test(name, 10) for name in names) < 140


def test_steady_tones_leave_the_tone_alone_that_is_asked_for(sound_sets: ModuleType) -> None:
    for _, samples in islice(sound_sets.steady_tones(), 40):
        power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
        frequency_hz = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
        near = np.abs(np.log2(frequency_hz.clip(1) / 440)) < 1 / 13
        assert power[near].max() < 1e-6 * power.max()


def test_another_font_plays_what_is_written(players: ModuleType) -> None:
    pytest.importorskip("midirenderer")
    font = (Path(pretty_midi.__file__).parent / "TimGM6mb.sf2").read_bytes()
    events = [players.Event(0, 0.0, 1.0, 69, 100), players.Event(1, 1.0, 2.0, 57, 100)]
    midi = players.arranged(events, [73, 42], None)  # flute, then cello
    samples = players.rendered_with(font)(midi)
    assert np.array_equal(samples, players.rendered_with(font)(midi))
    with pytest.raises(Exception, match=r"SoundFont|RIFF|Malformed"):
        players.rendered_with(b"not a font")(midi)
    assert 2.5 * RATE_HZ < len(samples) < 3.5 * RATE_HZ
    for start_s, hz in ((0.2, 440.0), (1.2, 220.0)):
        part = samples[round(start_s * RATE_HZ) :][: RATE_HZ // 2]
        partials = np.abs(np.fft.rfft(part * np.hanning(len(part))))
        assert 2 * (200 // 2 + partials[200 // 2 : 500 // 2].argmax()) == pytest.approx(hz, abs=4)


def test_short_sounds_are_strung_together_and_long_ones_taken_apart(script: Callable[[str], ModuleType]) -> None:
    free = script("free_sounds")
    short = [(f"short {number}", np.full(RATE_HZ, 0.1 * number, np.float32)) for number in range(1, 16)]
    long = [("long", np.full(25 * RATE_HZ, 0.5, np.float32))]
    found = dict(free.bustle(iter([*short[:5], *long, *short[5:]])))
    assert {name: len(samples) for name, samples in found.items() if name.startswith("long")} == {
        "long-A": 10 * RATE_HZ,
        "long-B": 10 * RATE_HZ,
    }
    strung = found["short_00"]
    assert 10 * RATE_HZ <= len(strung) < 11.5 * RATE_HZ
    levels = {round(float(level), 4) for level in strung if level}
    assert 7 <= len(levels) <= 10  # as many sounds, each at a level of its own
    assert min(levels) >= 0.3


def test_a_catalogue_of_sounds_is_taken_apart(script: Callable[[str], ModuleType]) -> None:
    parts = [(b'"Sawmill". By A. Licence: CC0.\0', b"RIFF one"), (b"plain\0", b"RIFF second")]
    start, table, body = 8 * len(parts), b"", b""
    for told, sound in parts:
        flag = 0x80000000 if not table else 0
        table += (start + len(body) | flag).to_bytes(4, "little") + len(sound).to_bytes(4, "little")
        body += bytes([len(told)]) + told + sound
    found = list(script("free_sounds").bundled(table + body + b"rest"))
    assert found == [("Sawmill", b"RIFF one"), ("plain", b"RIFF second")]


def test_a_sampler_plays_the_pitch_and_stops_when_the_note_does(players: ModuleType, tmp_path: Path) -> None:
    time_s = np.arange(3 * RATE_HZ) / RATE_HZ
    soundfile.write(tmp_path / "a.flac", 0.5 * np.sin(2 * np.pi * 440 * time_s), RATE_HZ)
    sampler = players.Sampler(tmp_path, {"a.flac": 69.0})
    for pitch, hz in ((69, 440.0), (72, 523.25), (81, 440.0)):  # an octave up is out of reach and moved back
        sound = sampler.note(pitch, 1.0)
        spectrum = np.abs(np.fft.rfft(sound[: RATE_HZ // 2]))
        assert 2 * spectrum.argmax() == pytest.approx(hz, abs=3)
        assert len(sound) == pytest.approx(1.4 * RATE_HZ, abs=2)
        assert abs(sound[-1]) < 0.01
