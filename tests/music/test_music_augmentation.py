"""Augmentation of drums: other drums play the same rhythm; melodies are not touched by it."""

import numpy as np
import torch
from music_pieces import common

from musicae.music.config import PARTS
from musicae.music.domain import MusicConfig, MusicDomain
from musicae.music.tensors import recombine, vary_drums
from musicae.music.tokens import DRUM_PITCHES

TRIO = MusicDomain(MusicConfig(part="trio", time_signature="4/4")).spec


def hits(tokens: torch.Tensor) -> torch.Tensor:
    """`(batch, steps)` → bool `(batch, steps, 9)`."""
    return ((tokens[..., None] >> torch.arange(len(DRUM_PITCHES))) & 1).bool()


def grooves(count: int = 400) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 512, (count, 32, 1), generator=generator)


def test_varied_drums_are_voices_of_the_batch_in_other_places_silent_or_later():
    before = grooves()
    after = vary_drums(before, PARTS["drums"], torch.Generator().manual_seed(1))
    assert after.shape == before.shape and after.min() >= 0 and after.max() < 512
    old, new = (hits(tokens[..., 0]).numpy() for tokens in (before, after))
    voices = {
        np.roll(window[:, voice], -shift).tobytes() for window in old for voice in range(9) for shift in range(0, 32, 4)
    }
    assert all(window[:, voice].tobytes() in voices for window in new for voice in range(9) if window[:, voice].any())
    assert ((~new.any(axis=1)).sum(axis=1) <= 1).all()  # at most one voice is silenced


def test_about_half_of_the_windows_take_some_drums_from_another():
    before = torch.zeros(4000, 32, 1, dtype=torch.int64)
    before[::2, 4], before[1::2, 4] = 0b111, 0b111000  # two kinds of window
    after = vary_drums(before, PARTS["drums"], torch.Generator().manual_seed(1))
    drums = hits(after[..., 0]).any(1)  # (windows, 9)
    both = drums[:, :3].any(1) & drums[:, 3:6].any(1)
    # Half are mixed, half of these with the other kind, (7/8)² of these have drums of both; some by a swap.
    assert 0.19 < both.double().mean() < 0.28


def test_recombined_windows_hold_whole_streams_of_the_batch():
    streams = torch.arange(300)[:, None, None].expand(300, 32, 3) + torch.tensor([0, 1000, 2000])
    after = recombine(streams.clone(), TRIO, 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(after, after[:, :1].expand_as(after))  # a stream is one window's throughout
    owners = after[:, 0] - torch.tensor([0, 1000, 2000])
    assert all(sorted(owners[:, stream].tolist()) != list(range(300)) for stream in range(3))
    whole = (owners == torch.arange(300)[:, None]).all(1).double().mean()
    assert 0.4 < whole < 0.6
    assert torch.equal(recombine(streams, TRIO, 0.0, torch.Generator().manual_seed(0)), streams)


def test_a_domain_recombines_in_training_only_and_only_where_asked():
    stored = torch.arange(2, 62)[:, None, None].expand(60, 32, 3).clone()
    stored[..., 2] = 0
    asked = MusicDomain(MusicConfig(part="trio", time_signature="4/4", recombined=1.0))
    plain = MusicDomain(MusicConfig(part="trio", time_signature="4/4"))

    def apart(domain):
        lines = domain.tensor(stored, torch.Generator().manual_seed(0)).target[:, 0, :2]
        return (lines[:, 0] != lines[:, 1]).double().mean().item()

    assert apart(plain) == 0
    assert apart(asked) > 0.9
    assert torch.equal(asked.tensor(stored).target, stored)


def test_about_as_many_trios_are_varied_as_said():
    before = torch.zeros(4000, 32, 3, dtype=torch.int64)
    before[..., 2:] = grooves(4000)
    after = vary_drums(before, PARTS["trio"], torch.Generator().manual_seed(1))
    changed = (before != after).flatten(1).any(1).double().mean().item()
    assert 0.31 < changed < 0.36  # 1 - (1 - 0.25 · 8/9) · (1 - 0.15)


def test_reading_without_a_generator_varies_nothing():
    domain = common(part="drums")
    stored = grooves(8).to(torch.int32)
    assert torch.equal(domain.tensor(stored).target, stored.long())
    assert not torch.equal(domain.tensor(stored, torch.Generator().manual_seed(0)).target, stored.long())


def test_a_trio_keeps_its_drums_in_time_with_its_melody():
    part = PARTS["trio"]
    tokens = torch.zeros(200, 32, 3, dtype=torch.int64)
    tokens[:, 5, 0], tokens[:, 9, 1], tokens[:, 5, 2] = 40, 30, 511
    after = vary_drums(tokens, part, torch.Generator().manual_seed(0))
    assert torch.equal(after[..., :2], tokens[..., :2])
    assert (after[..., 2] > 0).nonzero()[:, 1].unique().tolist() == [5]
