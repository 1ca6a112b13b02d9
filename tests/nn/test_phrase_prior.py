"""Codes of phrases in a row: densities by any order are those of one map, and what is known stays."""

import math

import pytest
import torch
from torch.distributions import Normal

from musicae.nn.latent import Posterior
from musicae.nn.phrase_prior import PhrasePrior

PHRASES, SIZE = 4, 3


@pytest.fixture
def prior() -> PhrasePrior:
    """Untrained, but with something to say: random weights in what begins at zero."""
    torch.manual_seed(0)
    found = PhrasePrior((PHRASES * SIZE,), phrases=PHRASES, width=16, blocks=2).eval()
    for parameter in found.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return found


def which(*phrases: int) -> torch.Tensor:
    return torch.tensor([number in phrases for number in range(PHRASES)])


def test_base_codes_come_back(prior: PhrasePrior) -> None:
    z = torch.randn(5, PHRASES * SIZE)
    torch.testing.assert_close(prior.from_base(prior.to_base(z)), z, atol=1e-4, rtol=1e-4)


def test_the_density_is_that_of_the_map_to_base_codes(prior: PhrasePrior) -> None:
    z = torch.randn(PHRASES * SIZE)
    jacobian = torch.autograd.functional.jacobian(lambda each: prior.to_base(each[None])[0], z)
    base = prior.to_base(z[None])
    wanted = Normal(0, 1).log_prob(base).sum() + torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(prior.log_prob(z[None])[0], wanted, atol=1e-4, rtol=1e-4)


def test_each_phrase_given_those_before_it_is_the_whole(prior: PhrasePrior) -> None:
    z = torch.randn(3, PHRASES * SIZE)
    parts = [prior.log_prob_given(z, which(number), which(*range(number))) for number in range(PHRASES)]
    torch.testing.assert_close(torch.stack(parts).sum(0), prior.log_prob(z))


def test_what_is_neither_asked_nor_known_does_not_matter(prior: PhrasePrior) -> None:
    z = torch.randn(2, PHRASES * SIZE)
    other = z.clone()
    other[:, SIZE : 2 * SIZE] += 5
    before, after = (prior.log_prob_given(each, which(2), which(0, 3)) for each in (z, other))
    torch.testing.assert_close(before, after)
    assert not torch.allclose(*(prior.log_prob_given(each, which(2), which(0, 1, 3)) for each in (z, other)))


def test_known_phrases_stay_and_the_others_are_drawn(prior: PhrasePrior) -> None:
    z = torch.randn(2, PHRASES * SIZE)
    first, again, other = (prior.completed(z, which(1, 2), torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    known = (~which(1, 2)).repeat_interleave(SIZE)
    assert torch.equal(first[:, known], z[:, known])
    # What stood in the place of the unknown ones is not looked at.
    moved = torch.where(known, z, 9.0)
    assert torch.equal(prior.completed(moved, which(1, 2), torch.Generator().manual_seed(0)), first)


def test_draws_of_a_phrase_have_its_density(prior: PhrasePrior) -> None:
    with torch.no_grad():  # a flow that changes no volume
        for coupling in prior.phrase.couplings:
            for parameter in coupling.net[-1].parameters():
                parameter.zero_()
    z = torch.randn(1, PHRASES * SIZE).expand(4000, -1)
    asked = which(3)
    drawn = prior.completed(z, asked, torch.Generator().manual_seed(0))
    # log p of a normal's draws varies by that of half of a χ² with as many degrees of freedom as there are numbers.
    found = prior.log_prob_given(drawn, asked, ~asked).detach()
    assert float(found.std()) == pytest.approx(math.sqrt(SIZE / 2), rel=0.15)


def test_training_takes_other_orders_too(prior: PhrasePrior) -> None:
    z = torch.randn(1, PHRASES * SIZE).expand(64, -1)
    assert prior.log_prob(z).std() < 1e-5
    assert prior.train().log_prob(z).std() > 1e-3


def test_repeated_phrases_become_cheap() -> None:
    torch.manual_seed(0)
    prior = PhrasePrior((PHRASES * SIZE,), phrases=PHRASES, width=32, blocks=2, dropout=0.0)
    optimizer = torch.optim.Adam(prior.parameters(), lr=3e-3)

    def tunes(count: int) -> torch.Tensor:
        return (
            torch.randn(count, 1, SIZE).repeat(1, PHRASES, 1).add(0.05 * torch.randn(count, PHRASES, SIZE)).flatten(1)
        )

    for _ in range(300):
        optimizer.zero_grad()
        (-prior.log_prob(tunes(64)).mean()).backward()
        optimizer.step()
    prior.eval()
    z = tunes(256)
    given = prior.log_prob_given(z, which(2), which(0, 1, 3)).mean()
    alone = prior.log_prob_given(z, which(2), which()).mean()
    assert given > alone + 3
    drawn = prior.completed(z, which(1, 2), torch.Generator().manual_seed(0)).unflatten(1, (PHRASES, SIZE))
    assert (drawn[:, 1] - drawn[:, 0]).abs().mean() < 0.4
    posterior = Posterior(z, torch.full_like(z, -4.0))
    assert prior.kl(posterior, z).shape == (256,)
