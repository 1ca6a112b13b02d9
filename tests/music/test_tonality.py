"""Keys: what people write, which key notes are in, and notes that are moved to another one."""

import pytest
import torch

from musicae.errors import MusicaeError
from musicae.music.config import MusicConfig
from musicae.music.domain import MusicDomain
from musicae.music.tokens import FIRST_ONSET, LOWEST_PITCH
from musicae.music.tonality import Key, fits, parse_key

MELODY = MusicDomain(MusicConfig(time_signature="4/4"))
ANY = MusicDomain(MusicConfig())
PIANO = MusicDomain(MusicConfig(part="piano", time_signature="4/4", expression=True))
C_MAJOR = (60, 62, 64, 65, 67, 69, 71, 72)


def line(domain: MusicDomain, pitches: tuple[int, ...]) -> torch.Tensor:
    """One window `(1, steps, columns)` with a note on every other step."""
    tokens = torch.zeros(1, domain.config.bars * 16, domain.config.columns, dtype=torch.int64)
    for place, pitch in enumerate(pitches):
        if domain is PIANO:
            key = pitch - LOWEST_PITCH
            tokens[0, 2 * place, key], tokens[0, 2 * place, 88 + 2 * key : 90 + 2 * key] = 2, 60
        else:
            tokens[0, 2 * place, 0] = pitch - LOWEST_PITCH + FIRST_ONSET
    if domain is ANY:
        tokens = torch.nn.functional.pad(tokens, (0, 0, 0, 4))
    return domain.tensor(tokens).target


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("C", (0, "major")),
        ("D minor", (2, "minor")),
        ("Bb major", (10, "major")),
        ("F#m", (6, "minor")),
        ("cb maj", (11, "major")),
        (" G♯ min ", (8, "minor")),
    ],
)
def test_a_key_is_read(text: str, wanted: tuple[int, str]) -> None:
    assert parse_key(text) == wanted


@pytest.mark.parametrize("text", ["", "H minor", "D dorian", "minor", "C F G", "C" * 10_000, "D minor\n\n;"])
def test_what_is_no_key_is_refused_with_the_grammar(text: str) -> None:
    with pytest.raises(MusicaeError, match="is no key; write a tonic and a mode"):
        parse_key(text)


def test_a_scale_fits_its_own_key_best_and_silence_none() -> None:
    counts = torch.zeros(2, 12)
    for pitch in C_MAJOR:
        counts[0, pitch % 12] += 1
    found = fits(counts, "major")
    assert found.shape == (2, 12)
    assert int(found[0].argmax()) == 0 and float(found[0].max()) > 0.8
    assert not found[1].any()
    counts[0, 9] += 3  # the tonic of the relative minor is stressed
    assert int(fits(counts, "minor")[0].argmax()) == 9


@pytest.mark.parametrize("domain", [MELODY, ANY, PIANO])
def test_the_way_to_a_key_leads_there(domain: MusicDomain) -> None:
    window = line(domain, C_MAJOR)
    key = parse_key("Eb major")
    shift, _ = domain.way_to_key(window[None], key, keeps_pitch=False)
    assert shift.tolist() == [3]
    allowed = domain.symbols_in_key(key, 3)
    assert len(allowed) == sum(domain.config.plan.vocabulary)
    pitches = [
        int(pitch)
        for stream, own in zip(domain.config.plan.streams, allowed.split(domain.config.plan.vocabulary), strict=True)
        for pitch in stream.pitch_of(torch.arange(stream.vocabulary).numpy())[own.numpy()]
        if pitch >= 0
    ]
    assert {pitch % 12 for pitch in pitches} == {pitch % 12 for pitch in C_MAJOR}
    moved = domain.moved(window, shift)
    again, fit = domain.way_to_key(moved[None], key, keeps_pitch=True)
    assert again.tolist() == [0]
    of_scale = fits(torch.tensor([[2.0, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1]]), "major").max()
    assert float(fit) == pytest.approx(0.8 * float(of_scale), abs=0.2)  # eight notes in two bars
    assert torch.equal(domain.moved(moved, -shift), window)


def test_what_would_leave_the_range_goes_the_other_way() -> None:
    high = line(MELODY, (107, 105, 103))
    moved = MELODY.moved(high, torch.tensor([4]))
    assert [int(token) for token in moved[0, :6:2, 0]] == [int(token) - 8 for token in high[0, :6:2, 0]]


def test_pads_stay_pads() -> None:
    window = line(ANY, C_MAJOR)
    moved = ANY.moved(window, torch.tensor([5]))
    assert torch.equal(moved >= 90, window >= 90) and int((moved >= 90).sum()) == 4


def test_drums_have_no_key() -> None:
    assert not MusicDomain(MusicConfig(part="drums")).has_keys
    assert MusicDomain(MusicConfig(part="trio")).has_keys
    allowed = MusicDomain(MusicConfig(part="trio")).symbols_in_key(Key(0, "major"), 0)
    assert allowed[180:].all() and not allowed[:180].all()
