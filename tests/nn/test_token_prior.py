"""The Transformer over tokens: it learns known probabilities, draws by them, and a cache changes nothing."""

import math

import pytest
import torch

from musicae.nn.token_prior import TokenPrior

ENTRIES, TOKENS = 3, 6
# By label, from one token to the next; the first token is the label's own.
CHAINS = torch.tensor(
    [[[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]], [[0.05, 0.9, 0.05], [0.05, 0.05, 0.9], [0.9, 0.05, 0.05]]]
)


def chains(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(2, (count,), generator=generator)
    tokens = [label]
    for _ in range(TOKENS - 1):
        tokens.append(torch.multinomial(CHAINS[label, tokens[-1]], 1, generator=generator)[:, 0])
    return torch.stack(tokens, 1), label


def true_nats(tokens: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """-log p(tokens | label) of the chains."""
    return -sum(CHAINS[label, tokens[:, i], tokens[:, i + 1]].log() for i in range(TOKENS - 1))


@pytest.fixture(scope="module")
def trained() -> TokenPrior:
    torch.manual_seed(0)
    prior = TokenPrior(ENTRIES, TOKENS, labels=2, width=32, blocks=2, dropout=0.0)
    optimiser = torch.optim.Adam(prior.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(1)
    for step in range(400):
        tokens, label = chains(256, step)
        loss = prior.loss(tokens, label, generator).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return prior.eval()


def test_untrained_tokens_are_alike_probable():
    prior = TokenPrior(ENTRIES, TOKENS, labels=0, width=16, blocks=1, dropout=0.0)
    nats = prior.loss(torch.randint(ENTRIES, (5, TOKENS)), None)
    torch.testing.assert_close(nats, torch.full((5,), TOKENS * math.log(ENTRIES)), atol=0.05 * TOKENS, rtol=0)


def test_known_probabilities_are_learned(trained: TokenPrior):
    tokens, label = chains(2000, 10_000)
    with torch.no_grad():
        found = trained.loss(tokens, label)
    wanted = true_nats(tokens, label)
    assert found.mean().item() == pytest.approx(wanted.mean().item(), abs=0.05)
    assert (found - wanted).abs().mean() < 0.25
    # Without its label the first token is a guess among two.
    with torch.no_grad():
        blind = trained.loss(tokens, None)
    assert blind.mean().item() == pytest.approx(wanted.mean().item() + math.log(2), abs=0.1)


def test_draws_follow_the_probabilities(trained: TokenPrior):
    label = torch.arange(2).repeat(3000)
    noise = torch.randn(6000, TOKENS, generator=torch.Generator().manual_seed(0))
    tokens = trained.draw(noise, label)
    assert (tokens[:, 0] == label).float().mean() > 0.99
    for kind in range(2):
        own = tokens[label == kind]
        before, after = own[:, :-1].flatten(), own[:, 1:].flatten()
        for token in range(ENTRIES):
            share = torch.bincount(after[before == token], minlength=ENTRIES) / (before == token).sum()
            torch.testing.assert_close(share, CHAINS[kind, token], atol=0.06, rtol=0)


def test_less_noise_is_safer_and_none_takes_the_most_probable(trained: TokenPrior):
    label = torch.arange(2).repeat(500)
    noise = torch.randn(1000, TOKENS, generator=torch.Generator().manual_seed(0))
    nats = [float(true_nats(trained.draw(spread * noise, label), label).mean()) for spread in (1.0, 0.5, 0.0)]
    assert nats[0] > nats[1] + 0.3 > nats[2] + 0.3
    assert trained.draw(torch.zeros(1, TOKENS), torch.tensor([1]))[0].tolist() == [1, 2, 0, 1, 2, 0]


def test_a_draw_with_what_was_kept_is_that_of_the_whole(trained: TokenPrior):
    tokens = trained.draw(
        torch.randn(4, TOKENS, generator=torch.Generator().manual_seed(0)) * 0, torch.tensor([0, 1, 0, 1])
    )
    with torch.no_grad():
        assert torch.equal(trained(tokens, torch.tensor([0, 1, 0, 1])).argmax(2), tokens)


def test_guidance_goes_from_draws_without_the_label_to_those_with_it(trained: TokenPrior):
    label = torch.ones(200, dtype=torch.int64)
    noise = torch.randn(200, TOKENS, generator=torch.Generator().manual_seed(0))
    assert torch.equal(trained.draw(noise, label, guidance=0.0), trained.draw(noise, None))
    assert torch.equal(trained.draw(noise, label, guidance=1.0), trained.draw(noise, label))
    assert not torch.equal(trained.draw(noise, None), trained.draw(noise, label))
    assert torch.equal(trained.draw(noise, label, guidance=3.0)[:, 0], label)
