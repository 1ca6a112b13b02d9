"""A code of two parts: the notes know nothing of the feel, and the feel plays any notes."""

import pytest
import torch
from music_pieces import common
from safetensors.torch import save_file

from musicae.errors import MusicaeError
from musicae.models import build_model, default_model, refuse_misfit
from musicae.models.played import FEEL, NOTES, PlayedAutoencoder
from musicae.music.config import MusicConfig
from musicae.music.domain import MusicDomain
from musicae.shipped import WEIGHTS
from musicae.training.checkpoint import take_over

DRUMS = common(part="drums", expression=True)
SMALL = {"width": 32, "step_width": 16, "latent_size": 8, "feel_size": 4, "feel_width": 16, "feel_layers": 1}


def drummer(**settings) -> PlayedAutoencoder:
    torch.manual_seed(0)
    model = build_model("played", DRUMS.spec, {**SMALL, **settings}).eval()
    assert isinstance(model, PlayedAutoencoder)
    return model


def grooves(count: int = 3) -> torch.Tensor:
    """Random hits with random values."""
    generator = torch.Generator().manual_seed(1)
    steps = DRUMS.config.steps
    symbols = torch.randint(0, 512, (count, steps, 1), generator=generator)
    values = [
        torch.where(column.applies(symbols), torch.randint(1, column.levels, symbols.shape, generator=generator), 0)
        for column in DRUMS.spec.values
    ]
    return torch.cat([symbols, *values], -1)


def test_it_is_the_default_for_notes_with_velocity():
    assert default_model(DRUMS.spec, restoring=False) == "played"
    assert default_model(common(part="drums").spec, restoring=False) == "steps"


def test_the_code_of_the_notes_does_not_see_how_they_are_played():
    model, x = drummer(), grooves()
    other = x.clone()
    other[..., 1:] = torch.where(x[..., 1:] > 0, 50, 0)
    (notes, feel), (same, moved) = (model.parts(model.encode(each).mean) for each in (x, other))
    assert torch.equal(notes, same)
    assert not torch.allclose(feel, moved)


def test_notes_are_played_as_they_are_whatever_the_feel():
    model, x = drummer(), grooves()
    generator = torch.Generator().manual_seed(0)
    for feel in (torch.zeros(3, 4), torch.full((3, 4), 5.0)):
        played = model.play(feel, x, temperature=1.0, generator=generator)
        assert torch.equal(played[..., :1], x[..., :1])
        there = torch.stack([column.applies(x[..., 0]) for column in DRUMS.spec.values], -1)
        assert not played[..., 1:][~there].any()
    first, second = (model.play(torch.full((3, 4), size), x) for size in (-3.0, 3.0))
    assert not torch.equal(first, second)


def test_the_notes_of_a_decoded_code_depend_on_their_part_alone():
    model = drummer()
    z = torch.randn(2, *model.latent_shape)
    moved = z.clone()
    moved[:, 8:] += 3
    assert torch.equal(model.decode(z)[..., 0], model.decode(moved)[..., 0])


@pytest.mark.parametrize("prior", ["standard", "flow", "mixture"])
def test_the_kl_of_both_parts_together_is_that_of_the_code(prior):
    model, x = drummer(prior=prior), grooves()
    scored = model.score(x, generator=torch.Generator().manual_seed(0))
    parts = model.latent.kl_parts(scored.posterior, scored.z)
    assert set(parts) == {NOTES, FEEL}
    torch.testing.assert_close(parts[NOTES] + parts[FEEL], scored.loss.kl)
    notes = model.latent.prior.parts[NOTES]
    own, drawn = scored.posterior.numbers(slice(0, 8)), scored.z[:, :8]
    torch.testing.assert_close(parts[NOTES], notes.kl(own, drawn))


def test_base_codes_come_back_and_draws_are_of_each_part():
    model = drummer(prior="flow")
    z = torch.randn(5, *model.latent_shape)
    torch.testing.assert_close(model.latent.from_base(model.latent.to_base(z)), z, atol=1e-4, rtol=1e-4)
    drawn = model.latent.sample(2000, torch.Generator().manual_seed(0))
    assert drawn.shape == (2000, 12)


def test_it_goes_on_from_a_model_of_notes_alone(tmp_path):
    torch.manual_seed(3)
    notes = build_model("steps", common(part="drums").spec, {"width": 32, "step_width": 16, "latent_size": 8}).eval()
    save_file(notes.state_dict(), tmp_path / WEIGHTS)
    model = drummer()
    take_over(model, tmp_path)
    x = grooves()
    torch.testing.assert_close(model.parts(model.encode(x).mean)[0], notes.encode(x[..., :1]).mean)
    z = torch.randn(3, 8)
    assert torch.equal(model.decode(torch.cat([z, torch.zeros(3, 4)], 1))[..., :1], notes.decode(z))


def test_three_instruments_in_several_time_signatures_are_played() -> None:
    domain = MusicDomain(MusicConfig(part="trio", expression=True))
    model = build_model("played", domain.spec, SMALL).eval()
    condition = torch.arange(4).unsqueeze(1).expand(-1, domain.config.steps)
    played = model.decode(torch.randn(4, *model.latent_shape), condition=condition)
    assert played.shape == (4, *domain.spec.shape)
    assert torch.equal(domain.config.slots.numbers(played, domain.config.plan.vocabulary), torch.arange(4))
    assert domain.compose(played).bars == 8


def test_a_code_without_noise_has_two_parts_too() -> None:
    model, x = drummer(latent="deterministic"), grooves()
    assert model.reconstruct(x).shape == x.shape
    assert model.loss(x).kl == 0


def test_notes_without_velocity_have_no_feel():
    with pytest.raises(MusicaeError, match="set expression=true"):
        refuse_misfit("played", common(part="drums").spec, SMALL)


def test_a_window_is_learned_by_heart():
    model, x = drummer(prior="standard").train(), grooves(2)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(300):
        optimizer.zero_grad()
        model.loss(x, beta=1e-3).total.backward()
        optimizer.step()
    answer = model.eval().reconstruct(x)
    assert torch.equal(answer[..., 0], x[..., 0])
    there = x[..., 1:] > 0
    assert (answer - x)[..., 1:][there].abs().float().mean() < 8
