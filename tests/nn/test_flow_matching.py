"""Flow matching: what it draws is distributed as the codes are, by label, and fits what is known."""

import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import distributed
from torch.utils._python_dispatch import TorchDispatchMode

from musicae.nn.flow_matching import CellConvolution, FlowMatching
from musicae.nn.latent import Posterior

SIZE, DEVIATION = 3, 0.5


def codes(count: int, generator: torch.Generator) -> tuple[Posterior, torch.Tensor]:
    """Two codes in a row, both at +2 or both at −2 in each number, and which, at random."""
    label = torch.randint(2, (count,), generator=generator)
    mean = (4.0 * label - 2)[:, None].expand(-1, 2 * SIZE) + 0.1 * torch.randn(count, 2 * SIZE, generator=generator)
    return Posterior(mean, torch.full_like(mean, DEVIATION).log() * 2), label


@pytest.fixture(scope="module")
def trained() -> FlowMatching:
    torch.manual_seed(0)
    flow = FlowMatching(2, SIZE, classes=2, labels=2, width=32, blocks=2).train()
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(flow.parameters(), lr=3e-3)
    for _ in range(600):
        posterior, label = codes(128, generator)
        optimizer.zero_grad()
        flow.loss(posterior, None, label, generator).mean().backward()
        optimizer.step()
    return flow.eval()


def noise(count: int) -> torch.Tensor:
    return torch.randn(count, 2 * SIZE, generator=torch.Generator().manual_seed(2))


def test_mean_and_scale_are_those_of_the_codes(trained):
    torch.testing.assert_close(trained.scale, torch.full((SIZE,), DEVIATION))
    assert trained.mean.abs().max() < 0.1
    assert int(trained.batches) == 100


ROWS = (5, 2)
"""Of a batch those of each of two processes."""


def learned_of(posterior: Posterior, label: torch.Tensor) -> FlowMatching:
    """A new one after three steps' losses of equal batches, each a little further off."""
    torch.manual_seed(0)
    flow = FlowMatching(2, SIZE, classes=2, labels=2, width=16, blocks=1).train()
    for step in range(3):
        flow.loss(Posterior(posterior.mean + step, posterior.log_variance), None, label)
    return flow


def as_process(rank: int, folder: str) -> None:
    distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    posterior, label = codes(sum(ROWS), torch.Generator().manual_seed(5))
    own = slice(0, ROWS[0]) if rank == 0 else slice(ROWS[0], None)
    flow = learned_of(Posterior(posterior.mean[own], posterior.log_variance[own]), label[own])
    save_file(flow.state_dict(), f"{folder}/{rank}.safetensors")
    distributed.destroy_process_group()


def test_two_processes_measure_what_one_does(tmp_path):
    torch.multiprocessing.spawn(as_process, (str(tmp_path),), nprocs=2)
    alone = learned_of(*codes(sum(ROWS), torch.Generator().manual_seed(5)))
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in range(2))
    assert alone.mean.abs().min() > 0.1
    for name in ("mean", "scale", "batches"):
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], alone.state_dict()[name])


class Reads(TorchDispatchMode):
    """Counts where the host reads a number of a tensor, for which it would wait on a GPU."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_the_host_reads_nothing_of_the_device_but_once_after_loading():
    posterior, label = codes(8, torch.Generator().manual_seed(5))
    flow = learned_of(posterior, label)
    again = FlowMatching(2, SIZE, classes=2, labels=2, width=16, blocks=1).train()
    again.load_state_dict(flow.state_dict())
    for each, expected in ((flow, 0), (again, 1), (again, 0)):
        with Reads() as reads:
            each.loss(posterior, None, label)
        assert reads.count == expected
    assert again.batches == 5
    assert flow.batches == 4


def test_draws_lie_where_codes_do_and_never_between(trained):
    drawn = trained.draw(noise(400))
    assert ((drawn.abs() - 2).abs() < 0.5).float().mean() > 0.95
    assert 0.3 < (drawn > 0).float().mean() < 0.7
    assert (drawn[:, :SIZE].mean(1).sign() == drawn[:, SIZE:].mean(1).sign()).float().mean() > 0.99
    assert torch.equal(trained.draw(noise(400)), drawn)


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_label_decides(trained, guidance):
    label = torch.arange(200) % 2
    drawn = trained.draw(noise(200), None, label, guidance=guidance)
    assert ((drawn.mean(1) > 0) == (label == 1)).float().mean() > 0.99


def test_known_codes_stay_and_the_others_follow_them(trained):
    given = torch.randn(200, 2 * SIZE) * 50  # what stands in place of the unknown one does not matter
    given[:, :SIZE] = (2.0 * (torch.arange(200) % 2 * 2 - 1))[:, None]
    known = torch.tensor([True, False])
    drawn = trained.draw(noise(200), codes=given, known=known)
    assert torch.equal(drawn[:, :SIZE], given[:, :SIZE])
    assert (drawn[:, SIZE:].mean(1).sign() == given[:, 0].sign()).float().mean() > 0.99
    other = given.clone()
    other[:, SIZE:] = 7
    assert torch.equal(trained.draw(noise(200), codes=other, known=known), drawn)


def test_the_error_is_smaller_where_the_label_is_right(trained):
    posterior, label = codes(512, torch.Generator().manual_seed(3))
    errors = [
        trained.loss(posterior, None, each, torch.Generator().manual_seed(4)).mean().item()
        for each in (label, 1 - label)
    ]
    untrained = FlowMatching(2, SIZE, classes=2, labels=2, width=32, blocks=2).eval()
    untrained.load_state_dict(untrained.state_dict() | {"scale": trained.scale, "mean": trained.mean})
    first = untrained.loss(posterior, None, label, torch.Generator().manual_seed(4)).mean().item()
    assert errors[0] < 0.5 * first
    assert errors[0] < errors[1]


def test_a_single_code_has_no_attention_and_its_class_counts():
    torch.manual_seed(0)
    flow = FlowMatching(1, SIZE, classes=3, labels=0, width=16, blocks=1).eval()
    assert not any("query" in name for name, _ in flow.named_parameters())
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    start = torch.randn(4, SIZE)
    first, other = (flow.draw(start, torch.full((4, 5), number)) for number in (0, 2))
    assert torch.equal(flow.draw(start), first)
    assert not torch.allclose(first, other)


def test_scales_that_are_not_positive_are_refused():
    flow = FlowMatching(1, SIZE, classes=0, labels=0, width=16, blocks=1)
    flow.scale[1] = 0
    with pytest.raises(ValueError, match="not positive"):
        flow.check_weights()


def test_a_convolution_over_cells_reaches_their_neighbours_and_near_positions_are_alike() -> None:
    convolution = CellConvolution(1, 1, (3, 4))
    torch.nn.init.ones_(convolution.weight)
    torch.nn.init.zeros_(convolution.bias)
    cells = torch.zeros(1, 12, 1)
    cells[0, 1 * 4 + 3] = 1  # row 1, the last column
    heard = convolution(cells).view(3, 4)
    assert torch.equal(heard, torch.tensor([[0.0, 0, 1, 1]] * 3))
    flow = FlowMatching(12, SIZE, classes=0, labels=0, width=32, blocks=1, grid=(3, 4))
    positions = flow.position.detach()
    likeness = torch.cosine_similarity(positions[:, None], positions[None], dim=2).view(3, 4, 3, 4)
    assert likeness[1, 1, 1, 2] > likeness[1, 1, 1, 3] and likeness[0, 0, 1, 0] > likeness[0, 0, 2, 0]
    assert float(torch.cdist(positions, positions).fill_diagonal_(1).min()) > 0.1


def test_precise_codes_of_pictures_are_drawn_as_they_are_spread() -> None:
    """Codes 50 times as far apart as their noise, of two kinds; each number's spread and sign are drawn."""
    torch.manual_seed(0)
    flow = FlowMatching(4, 2, classes=0, labels=2, width=32, blocks=2, grid=(2, 2)).train()
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(flow.parameters(), lr=3e-3)

    def batch(count: int) -> tuple[Posterior, torch.Tensor]:
        label = torch.randint(2, (count,), generator=generator)
        centre = 3.0 * (2 * label - 1)
        mean = centre[:, None] + torch.randn(count, 8, generator=generator)
        return Posterior(mean, torch.full_like(mean, 2 * math.log(0.02))), label

    for _ in range(500):
        posterior, label = batch(128)
        optimizer.zero_grad()
        flow.loss(posterior, None, label, generator).mean().backward()
        optimizer.step()
    assert float(flow.eval().scale.min()) > 2.8
    base = torch.randn(600, 8, generator=torch.Generator().manual_seed(2))
    for wanted in (0, 1):
        drawn = flow.draw(base, label=torch.full((600,), wanted))
        assert (drawn.mean(1).sign() == 2 * wanted - 1).float().mean() > 0.98
        assert abs(float(drawn.mean())) == pytest.approx(3, abs=0.4)
        assert 0.6 < float(drawn.std(0).mean()) < 1.6
