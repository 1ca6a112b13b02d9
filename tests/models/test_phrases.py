"""Codes of two bars in a row: each depends on its own bars, and begins as a model of two bars."""

import pytest
import torch
from music_pieces import common
from safetensors.torch import save_file

from musicae.errors import MusicaeError
from musicae.models import build_model, refuse_misfit
from musicae.music.config import MusicConfig
from musicae.music.domain import MusicDomain
from musicae.shipped import WEIGHTS
from musicae.training.checkpoint import take_over

SMALL = {"width": 32, "step_width": 16, "latent_size": 6}
LONG = {**SMALL, "prior_width": 16, "prior_blocks": 1}


def pieces(domain: MusicDomain, count: int = 3) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Random windows, in the domain's time signatures one after the other."""
    generator = torch.Generator().manual_seed(0)
    stored = torch.randint(0, 90, (count, domain.config.steps, domain.config.columns), generator=generator)
    if domain.config.slots.are_several:
        stored[..., -1] = torch.arange(count)[:, None] % len(domain.config.signatures)
    return domain.tensor(stored)


@pytest.mark.parametrize("signature", ["4/4", "any"])
def test_each_code_is_of_its_own_bars(signature: str) -> None:
    torch.manual_seed(0)
    domain = MusicDomain(MusicConfig(bars=8, time_signature=signature))
    model = build_model("phrases", domain.spec, LONG).eval()
    x, condition = pieces(domain)
    other = x.clone()
    length = x.shape[1] // 4
    other[:, length : length + 2] = 5
    codes, changed = (model.encode(each, condition).mean.unflatten(1, (4, 6)) for each in (x, other))
    same = [torch.equal(codes[:, phrase], changed[:, phrase]) for phrase in range(4)]
    assert same == [True, False, True, True]
    z = model.encode(x, condition).mean
    moved = z.clone()
    moved[:, 12:18] += 4
    decoded, again = (model.decode(each, condition=condition) for each in (z, moved))
    differs = (decoded != again).flatten(2).any(2).any(0)
    assert differs[2 * length : 3 * length].any()
    assert not differs[: 2 * length].any()
    assert not differs[3 * length :].any()


def test_it_starts_as_the_model_of_two_bars_with_its_prior(tmp_path) -> None:
    torch.manual_seed(1)
    short = build_model("steps", common().spec, SMALL).eval()
    for parameter in short.latent.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_file(short.state_dict(), tmp_path / WEIGHTS)
    domain = common(bars=8)
    model = build_model("phrases", domain.spec, LONG).eval()
    take_over(model, tmp_path)
    x, _ = pieces(domain)
    two_bars = x.unflatten(1, (4, -1)).flatten(0, 1)
    torch.testing.assert_close(model.encode(x).mean.reshape(-1, 6), short.encode(two_bars).mean)
    # Untrained, the prior takes the phrases for independent ones.
    z = torch.randn(3, 24)
    wanted = short.latent.log_prob(z.reshape(-1, 6)).reshape(3, 4).sum(1)
    torch.testing.assert_close(model.latent.log_prob(z), wanted, atol=1e-4, rtol=1e-4)


def test_no_prior_is_taken_over_where_the_layers_do_not_fit(tmp_path) -> None:
    torch.manual_seed(1)
    short = build_model("steps", common().spec, {**SMALL, "width": 48})
    for parameter in short.latent.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_file(short.state_dict(), tmp_path / WEIGHTS)
    model = build_model("phrases", common(bars=8).spec, LONG)
    before = {name: value.clone() for name, value in model.latent.state_dict().items()}
    take_over(model, tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in model.latent.state_dict().items())


@pytest.mark.parametrize(
    ("bars", "settings", "sentence"),
    [
        (2, {}, "pieces of several phrases of 2 bars; set bars=16"),
        (8, {"latent": "deterministic"}, "latent"),
        (8, {"side_by_side": True}, "side_by_side"),
    ],
)
def test_what_does_not_fit_is_refused(bars: int, settings: dict, sentence: str) -> None:
    with pytest.raises(MusicaeError, match=sentence):
        refuse_misfit("phrases", common(bars=bars).spec, {**LONG, **settings})
