"""The codes of notes: there and back, a density, and learned from labels."""

import torch
from torch import distributions

from musicae.nn.note_prior import NotePrior


def prior() -> NotePrior:
    """Three pooled numbers, two of each of five moments, and weights that say something."""
    torch.manual_seed(0)
    made = NotePrior(3, 2, 5)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made.eval()


def asked(*notes: tuple[int, int, int]) -> torch.Tensor:
    return torch.tensor(notes)


def test_draws_are_mapped_there_and_back_as_a_density_is():
    made, condition, base = prior(), asked((1, 700, 80), (0, 0, 0)), torch.randn(2, 13)
    pooled, moments = made.from_base(base, condition)

    for row in range(2):
        own = condition[row : row + 1]

        def flat(x: torch.Tensor, own: torch.Tensor = own) -> torch.Tensor:
            first, rest = made.from_base(x[None], own)
            return torch.cat([first[0], rest[0].flatten()])

        jacobian = torch.autograd.functional.jacobian(flat, base[row])
        normal = distributions.Normal(0.0, 1.0).log_prob(base[row]).sum()
        expected = normal - torch.linalg.slogdet(jacobian).logabsdet
        found = made.log_prob(pooled[row : row + 1], moments[row : row + 1], own)[0]
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


def test_it_learns_where_the_codes_of_each_pitch_lie():
    torch.manual_seed(0)
    made = NotePrior(2, 1, 4)
    generator = torch.Generator().manual_seed(0)
    pitch = 16 * torch.randint(40, 80, (512,), generator=generator) + 1
    condition = torch.stack([torch.ones_like(pitch), pitch, torch.full_like(pitch, 80)], 1)
    place = (pitch - 1).float() / 16 / 20 - 3
    pooled = torch.stack([place, -place], 1) + 0.05 * torch.randn(512, 2, generator=generator)
    moments = place[:, None, None] + 0.05 * torch.randn(512, 1, 4, generator=generator)
    assert not made.is_fitted

    assert made.fit(lambda rows: (pooled[rows], moments[rows]), condition, torch.arange(512), generator)

    assert made.is_fitted
    drawn, sequence = made.from_base(torch.zeros(2, 6), asked((1, 16 * 50 + 1, 80), (1, 16 * 70 + 1, 80)))

    torch.testing.assert_close(drawn[:, 0], torch.tensor([-0.5, 0.5]), atol=0.12, rtol=0)
    torch.testing.assert_close(sequence[:, 0].mean(-1), torch.tensor([-0.5, 0.5]), atol=0.12, rtol=0)
