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
    moved = domain.moved(window[None], shift)[0]
    again, fit = domain.way_to_key(moved[None], key, keeps_pitch=True)
    assert again.tolist() == [0]
    held = torch.zeros(1, 12)  # each note sounds until the next, the last until the end; a key of a piano to the end
    for place, pitch in enumerate(C_MAJOR):
        held[0, pitch % 12] += 32 - 2 * place if domain is PIANO or place == 7 else 2
    assert float(fit) == pytest.approx(0.8 * float(fits(held, "major")[0, 0]), rel=1e-5)  # eight notes in two bars
    assert torch.equal(domain.moved(moved[None], -shift)[0], window)


def test_what_would_leave_the_range_goes_the_other_way() -> None:
    high = line(MELODY, (107, 105, 103))
    moved = MELODY.moved(high[None], torch.tensor([4]))[0]
    assert [int(token) for token in moved[0, :6:2, 0]] == [int(token) - 8 for token in high[0, :6:2, 0]]


def test_pads_stay_pads() -> None:
    window = line(ANY, C_MAJOR)
    moved = ANY.moved(window[None], torch.tensor([5]))[0]
    assert torch.equal(moved >= 90, window >= 90) and int((moved >= 90).sum()) == 4


def test_drums_have_no_key() -> None:
    assert not MusicDomain(MusicConfig(part="drums")).has_keys
    assert MusicDomain(MusicConfig(part="trio")).has_keys
    allowed = MusicDomain(MusicConfig(part="trio")).symbols_in_key(Key(0, "major"), 0)
    assert allowed[180:].all() and not allowed[:180].all()


def test_all_windows_of_a_piece_are_moved_alike_and_wide_ones_fold_into_the_range() -> None:
    low, high, wide = line(MELODY, (60, 62)), line(MELODY, (107, 105)), line(MELODY, (21, 108))
    moved = MELODY.moved(torch.stack([low, high], 1), torch.tensor([4]))[0]
    steps = [
        int(after) - int(before)
        for pair in zip((low[0], high[0]), moved, strict=True)
        for before, after in zip(*(each[:4:2, 0] for each in pair), strict=True)
    ]
    assert steps == [-8] * 4
    folded = MELODY.moved(wide[None], torch.tensor([4]))[0, 0, :4:2, 0] - FIRST_ONSET + LOWEST_PITCH
    assert [int(pitch) % 12 for pitch in folded] == [(21 + 4) % 12, (108 + 4) % 12]
    assert all(21 <= int(pitch) <= 108 for pitch in folded)


def test_a_note_that_is_held_over_a_bar_line_sounds_on_after_it() -> None:
    window = line(ANY, (62,))  # a whole note of two bars
    counted = ANY.way_to_key(window[None], Key(2, "minor"), keeps_pitch=True)[1]
    only = torch.zeros(1, 12)
    only[0, 2] = 1
    assert float(counted) == pytest.approx(float(fits(only, "minor")[0, 2]) / 3, rel=1e-5)
    two = window.clone()
    two[0, 18, 0] = 69 - LOWEST_PITCH + FIRST_ONSET  # in the second bar
    held = torch.zeros(1, 12)
    held[0, 2], held[0, 9] = 16, 16
    assert float(ANY.way_to_key(two[None], Key(2, "minor"), keeps_pitch=True)[1]) == pytest.approx(
        float(fits(held, "minor")[0, 2]) / 2, rel=1e-5
    )


@pytest.mark.parametrize("domain", [MELODY, ANY, PIANO], ids=["4/4", "any", "piano"])
def test_the_scale_is_that_of_all_notes(domain):
    for shift in (0, 3, 10):
        pitches = tuple(pitch + shift for pitch in C_MAJOR)
        assert domain.spec.labels.of(line(domain, pitches)).tolist() == [shift]
    assert domain.spec.labels.of(line(domain, (60, 61, *C_MAJOR[1:]))).tolist() == [12]
    assert domain.spec.labels.of(line(domain, (62, 65, 69, 62, 65, 69))).item() == Key(2, "minor").scale
    assert domain.spec.labels.of(line(domain, ())).item() < domain.spec.labels.usual
    assert domain.label_of_key(parse_key("A minor")) == domain.label_of_key(parse_key("C")) == 0


def test_drums_have_no_scale():
    assert MusicDomain(MusicConfig(part="drums")).spec.labels is None
