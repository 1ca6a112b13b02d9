"""The piano model: what its loss weighs, what its prior begins as, and bars that are shorter than others."""

import pytest
import torch
from music_pieces import starter_windows

from musicae.errors import MusicaeError
from musicae.likelihoods import CategoricalWithValues
from musicae.models import build_model, default_model
from musicae.models.autoencoder import Autoencoder
from musicae.music.domain import MusicConfig, MusicDomain
from musicae.nn.phrase_prior import PhrasePrior
from musicae.nn.prior import standard_log_prob

ANY = MusicDomain(MusicConfig(part="piano", expression=True))
COMMON = MusicDomain(MusicConfig(part="piano", time_signature="4/4"))
SMALL = {"width": 32, "latent_size": 6, "prior_width": 16, "prior_blocks": 1}


def built(domain: MusicDomain = ANY, **settings: object) -> Autoencoder:
    torch.manual_seed(0)
    return build_model("keyboard", domain.spec, {**SMALL, **settings})


def windows(domain: MusicDomain = ANY) -> tuple[torch.Tensor, torch.Tensor | None]:
    stored = torch.from_numpy(starter_windows(domain))[::7][:12]
    return domain.tensor(stored)


def test_it_is_the_default_for_a_piano_with_and_without_velocity() -> None:
    assert default_model(ANY.spec, False) == default_model(COMMON.spec, False) == "keyboard"
    assert default_model(MusicDomain(MusicConfig(part="drums", expression=True)).spec, False) == "played"


@torch.no_grad()
def test_velocity_and_timing_count_as_much_as_the_setting_says() -> None:
    target, condition = windows()
    totals = {}
    for weight in (1.0, 0.25):
        model = built(value_weight=weight).eval()
        totals[weight] = model.loss(target, generator=torch.Generator().manual_seed(1), condition=condition)
    scored = model.score(target, generator=torch.Generator().manual_seed(1), condition=condition)
    assert isinstance(model.likelihood, CategoricalWithValues)
    of_values = -model.likelihood.log_prob_of_values(scored.parameters, target).mean()
    assert of_values > 1
    assert totals[1.0].reconstruction == pytest.approx(float(totals[0.25].reconstruction), rel=1e-6)
    assert float(totals[1.0].total - totals[0.25].total) == pytest.approx(0.75 * float(of_values), rel=1e-4)


@torch.no_grad()
def test_without_values_there_is_nothing_to_weigh() -> None:
    target, _ = windows(COMMON)
    loss = built(COMMON).eval().loss(target, generator=torch.Generator().manual_seed(0))
    assert float(loss.total) == pytest.approx(float(loss.reconstruction + loss.kl), rel=1e-6)


def test_a_learned_prior_begins_as_the_standard_one() -> None:
    model = built(prior="flow").eval()
    prior = model.latent.prior
    assert isinstance(prior, PhrasePrior) and prior.phrases == 4
    z = torch.randn(5, *model.latent_shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(prior.log_prob(z), standard_log_prob(z), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("prior", ["standard", "flow"])
def test_decoded_bars_are_as_long_as_their_time_signature(prior: str) -> None:
    model = built(prior=prior).eval()
    z = torch.randn(4, *model.latent_shape, generator=torch.Generator().manual_seed(0))
    condition = torch.arange(4)[:, None].expand(-1, 36)
    decoded = model.decode(z, condition=condition)
    assert ANY.config.slots.numbers(decoded, ANY.config.plan.vocabulary).tolist() == [0, 1, 2, 3]
    ANY.config.slots.check(decoded, ANY.config.plan.vocabulary)
    assert ANY.compose(decoded).bars == 8


def test_a_stretch_is_encoded_in_the_light_of_the_others_and_pads_say_nothing() -> None:
    model = built(codes_per_bar=3).eval()
    target, condition = windows()
    changed = target.clone()
    changed[:, 0, 40] = 2
    mean, other = (model.encode(batch, condition).mean.unflatten(1, (6, -1)) for batch in (target, changed))
    assert (mean != other).any(2).all()
    empty = torch.zeros(1, 36, ANY.spec.shape[1], dtype=torch.int64)
    padded = empty.clone()
    padded[:, 16:18, :88] = padded[:, 34:, :88] = 3
    zeros = torch.zeros(1, 36, dtype=torch.int64)
    assert torch.equal(model.encode(empty, zeros).mean, model.encode(padded, zeros).mean)


def test_codes_must_divide_the_bar() -> None:
    with pytest.raises(ValueError, match="a bar of 18 steps has no 4 equal parts"):
        built(codes_per_bar=4)
    with pytest.raises(MusicaeError, match="mixture"):
        built(prior="mixture")
