"""What happens to clean sound before training: levels, polarity, rooms, company, colour and silence, as asked for."""

import torch

from musicae.audio import stft as signal
from musicae.audio.augmentation import (
    COLOUR_DB,
    DULL_DB,
    DULL_FROM_HZ,
    DULL_SHARE,
    GAIN_DB,
    TILT_DB,
    TILT_FROM_HZ,
    augmented,
    coloured,
    dulled,
    tilted,
)

RATE_HZ, SAMPLES = 16_000, 8_000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tones(rows: int) -> torch.Tensor:
    """A frequency of its own for each row."""
    time_s = torch.arange(SAMPLES) / RATE_HZ
    return 0.1 * torch.sin(2 * torch.pi * (200 + 100 * torch.arange(rows))[:, None] * time_s)


def test_levels_move_within_bounds_and_half_are_turned_over() -> None:
    clean = tones(256)

    changed = augmented(clean, seeded(), sample_rate_hz=RATE_HZ, room_share=0.0)

    ratio = (changed * clean).sum(1) / clean.square().sum(1)
    assert torch.allclose(changed, ratio[:, None] * clean, atol=1e-5)
    gain_db = 20 * ratio.abs().log10()
    assert -GAIN_DB - 0.01 < gain_db.min() < -0.8 * GAIN_DB
    assert 0.8 * GAIN_DB < gain_db.max() < GAIN_DB + 0.01
    assert 90 < int((ratio < 0).sum()) < 166


def test_silence_comes_as_often_as_told() -> None:
    changed = augmented(tones(256), seeded(), sample_rate_hz=RATE_HZ, silent_share=0.25)

    assert 40 < int((changed.abs().amax(1) == 0).sum()) < 90


def test_a_room_adds_a_tail() -> None:
    click = torch.zeros(64, SAMPLES)
    click[:, 100] = 1.0

    changed = augmented(click, seeded(), sample_rate_hz=RATE_HZ, room_share=1.0)

    assert (changed[:, 101:].square().sum(1) > 1e-4).all()
    assert not changed[:, :95].abs().max() > 1e-4


def test_joined_sounds_hold_others_of_the_batch() -> None:
    clean = tones(64)

    changed = augmented(clean, seeded(), sample_rate_hz=RATE_HZ, room_share=0.0, joined_share=0.5)
    alone = augmented(clean, seeded(), sample_rate_hz=RATE_HZ, room_share=0.0, joined_share=0.0)

    own = [float((row * tone).sum().square() / (row.square().sum() * tone.square().sum()))
           for row, tone in zip(changed, clean, strict=True)]  # fmt: skip
    assert 15 < sum(share < 0.999 for share in own) < 60
    assert min(own) > 0.1
    assert alone.shape == changed.shape


def test_colours_are_smooth_and_bounded() -> None:
    flat = torch.ones(64, 2, 257, 10)

    changed = coloured(flat, seeded())

    change_db = 20 * changed[:, 0, :, 0].log10()
    assert change_db.abs().max() <= COLOUR_DB + 1e-3
    assert change_db.diff(dim=1).abs().max() < 0.3
    assert torch.equal(changed[:, 0], changed[:, 1])
    assert change_db.std() > 2
    assert signal.magnitude(changed).isfinite().all()


def test_brighter_and_duller_recordings_rise_and_fall_by_the_octave() -> None:
    changed_db = 20 * torch.log10(tilted(torch.ones(50, 2, 513, 3), seeded(), sample_rate_hz=32_000)[:, 0, :, 0])

    frequency_hz = torch.linspace(0, 16_000, 513)
    assert changed_db[:, frequency_hz <= TILT_FROM_HZ].abs().max() < 1e-4
    two, four = (changed_db[:, int((frequency_hz - hertz).abs().argmin())] for hertz in (2_000, 4_000))
    torch.testing.assert_close(four, 2 * two, atol=1e-3, rtol=1e-3)
    assert TILT_DB / 2 < two.abs().max() <= TILT_DB
    assert two.min() < 0 < two.max()


def test_highs_of_some_sounds_fall_by_the_octave_and_nothing_else_changes() -> None:
    changed_db = 20 * torch.log10(dulled(torch.ones(400, 2, 513, 3), seeded(), sample_rate_hz=48_000)[:, 0, :, 0])

    frequency_hz = torch.linspace(0, 24_000, 513)
    is_dull = changed_db[:, -1] < -1e-3
    assert abs(float(is_dull.float().mean()) - DULL_SHARE) < 0.08
    assert not changed_db[~is_dull].any()
    assert changed_db[:, frequency_hz <= DULL_FROM_HZ[0]].abs().max() < 1e-4
    assert changed_db.diff(dim=1).max() < 1e-3
    ten, twenty = (changed_db[is_dull, int((frequency_hz - hertz).abs().argmin())] for hertz in (10_000, 20_000))
    octave_db = ten - twenty
    assert DULL_DB[0] - 0.1 < octave_db.min() < DULL_DB[0] + 2
    assert DULL_DB[1] - 2 < octave_db.max() < DULL_DB[1] + 0.1
