"""What of a window another one keeps, on windows written by hand."""

import pytest
import torch
from music_pieces import common

from musicae.music.resemblance import ASPECTS
from musicae.music.tokens import FIRST_ONSET, HOLD, LOWEST_PITCH, NOTE_OFF

BAR = 16


def line(*notes: tuple[int, int], bars: int = 2) -> torch.Tensor:
    """A melody of `(step, MIDI pitch)`, each held until the next; pitch 0 is a rest. `(1, steps, 1)`."""
    tokens = torch.full((bars * BAR,), HOLD)
    for step, pitch in notes:
        tokens[step] = NOTE_OFF if pitch == 0 else pitch - LOWEST_PITCH + FIRST_ONSET
    return tokens.view(1, -1, 1)


def drums(*hits: tuple[int, int]) -> torch.Tensor:
    """Drums of `(step, bits)`."""
    tokens = torch.zeros(2 * BAR, dtype=torch.int64)
    for step, bits in hits:
        tokens[step] = bits
    return tokens.view(1, -1, 1)


TUNE = line((0, 60), (4, 64), (8, 67), (12, 64), (16, 62), (24, 60))
SAME = {"notes": 1.0, "rhythm": 1.0, "contour": 1.0, "harmony": 1.0}


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (TUNE, SAME),
        # A fifth up: rhythm and ways stay; C, E, G beside G, B, D have G in common, D, C beside A, G nothing.
        (
            line((0, 67), (4, 71), (8, 74), (12, 71), (16, 69), (24, 67)),
            {"notes": 0.0, "rhythm": 1.0, "contour": 1.0, "harmony": 4 / 32},
        ),
        # Half of the notes an eighth late.
        (
            line((2, 60), (4, 64), (10, 67), (12, 64), (18, 62), (24, 60)),
            {"notes": 3 / 6, "rhythm": 3 / 6, "contour": 2 / 5},
        ),
        # One note more.
        (
            line((0, 60), (2, 62), (4, 64), (8, 67), (12, 64), (16, 62), (24, 60)),
            {"notes": 1.0, "rhythm": 12 / 13, "contour": 1.0, "harmony": 30 / 32},
        ),
        # Upside down.
        (
            line((0, 67), (4, 63), (8, 60), (12, 63), (16, 65), (24, 67)),
            {"notes": 0.0, "rhythm": 1.0, "contour": 0.0},
        ),
        # A tune of one pitch goes nowhere.
        (line((0, 60), (4, 60), (8, 60), (12, 60), (16, 60), (24, 60)), {"notes": 2 / 6, "contour": 0.0}),
    ],
)
def test_a_line_keeps_what_it_keeps(other, expected):
    domain = common(bars=2)
    for aspect, share in expected.items():
        assert float(domain.kept(other, TUNE, aspect)) == pytest.approx(share), aspect


def test_drums_keep_hits_and_rhythm_and_have_no_pitches():
    domain = common(part="drums", bars=2)
    beat, other = drums((0, 1), (4, 3), (8, 1), (12, 2)), drums((0, 1), (4, 2), (8, 4), (14, 2))
    shares = {aspect: float(domain.kept(other, beat, aspect)) for aspect in ASPECTS}
    assert shares == {"notes": pytest.approx(2 / 5), "rhythm": pytest.approx(3 / 4), "contour": 1.0, "harmony": 1.0}


def test_silence_keeps_everything_of_silence_and_nothing_of_a_tune():
    domain = common(bars=2)
    silence = line()
    shares = {aspect: float(domain.kept(TUNE, silence, aspect)) for aspect in ASPECTS}
    assert shares == {**SAME, "rhythm": 0.0, "harmony": 0.0}
    assert float(domain.kept(silence, TUNE, "notes")) == 0
