"""Samples from the prior, and variations of an example. Pieces longer than a window are random walks."""

import math
from typing import Any

import torch
from torch import Tensor

from musicae.capabilities import NOTES, ComparesAspects, CompletesCondition
from musicae.errors import MusicaeError, unknown_name
from musicae.inference.fitting import SampleRequest, drawn_to_fit, request
from musicae.inference.latent_paths import varied, walk
from musicae.inference.latent_search import POPULATION, search
from musicae.inference.results import Morph
from musicae.pipeline import Choice, Code, Pipeline, condition_text

MAX_COUNT = 1000
MAX_WINDOWS = 10_000  # in all pieces together
_MOST_SPREAD = 10
# Of neighbouring windows of a walk: an angle of about 32°.
_CORRELATION = 0.85
# Of a search for variations: what the kept aspect costs beside notes, how far around the way it looks, and the cost at
# which it ends: a fortieth of the aspect lost.
_LOST, _AROUND, _CLOSE = 4.0, 0.6, 0.1


def sample(
    pipeline: Pipeline,
    count: int,
    *,
    length: int | None = None,
    chords: str | None = None,
    label: str | None = None,
    time_signature: str | None = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
    spread: float | None = None,
    key: str | None = None,
    pitch: float | None = None,
    velocity: float | None = None,
    seed: int | None = None,
) -> Morph:
    """Decodes draws from the prior; see `TrainedModel.sample`."""
    pipeline.refuse_restorer("sample")
    check_count(count)
    check_draw(temperature, top_p)
    if spread is not None and not 0 <= spread <= _MOST_SPREAD:
        raise ValueError(f"spread is a number of 0 to {_MOST_SPREAD}, got {spread}")
    windows, remarks = _windows(pipeline, length)
    condition, asked = condition_text(chords, label, time_signature, pitch, velocity), request(pipeline, key, chords)
    if asked is not None and asked.chords is not None and not asked.keeps_pitch:
        condition = time_signature
    drawn = count if asked is None else count * asked.candidates
    if drawn * windows > MAX_WINDOWS:
        raise ValueError(f"{drawn} pieces of {windows} windows are more than {MAX_WINDOWS} in all; ask for fewer")
    given = None if condition is None else pipeline.condition(condition, windows).repeat(drawn, 1)
    generator = pipeline.generator(seed)
    if given is not None:
        pipeline.refuse_unlearned_condition()
    if isinstance(pipeline.domain, CompletesCondition) and pipeline.domain.spec.condition is not None:
        none = torch.zeros(drawn * windows, pipeline.domain.spec.condition[0], dtype=torch.int64)
        given = pipeline.domain.complete_condition(none if given is None else given.cpu(), generator)
    if given is None:
        given = pipeline.network.usual_condition(drawn * windows, generator)
    draws = pipeline.draws(drawn * windows, generator).unflatten(0, (drawn, windows))
    base = walk(draws, _CORRELATION).flatten(0, 1)
    base = base * (_advised_spread(pipeline, asked) if spread is None else spread)
    how: dict[str, Any] = {"temperature": temperature, "top_p": top_p, "generator": generator}
    labels = pipeline.labels(drawn, generator, None if asked is None else asked.label)
    z = pipeline.drawn(base, given, None if labels is None else labels.repeat_interleave(windows))
    if asked is None:
        batch = pipeline.decode_codes(z, given, **how)
    else:
        batch = drawn_to_fit(pipeline, z, windows, asked, given, **how)
    tensor = batch.unflatten(0, (count, windows))
    return Morph(pipeline.domain, name="samples", part="sample", tensor=tensor, remarks=remarks)


def _advised_spread(pipeline: Pipeline, asked: SampleRequest | None) -> float:
    """The model's; with a key that it can't draw by, half way to 1: samples stay in it however far from the middle."""
    advised: float = pipeline.network.config.sample_spread
    is_kept = asked is None or asked.key is None or pipeline.network.draws_labels
    return advised if is_kept else (1 + advised) / 2


def vary(
    pipeline: Pipeline,
    source: Any,
    amount: float,
    count: int,
    seed: int | None,
    temperature: float,
    keep: str | None,
    choice: Choice,
) -> Morph:
    """Decodes an example and variations of it, the reconstruction first; see `TrainedModel.vary`."""
    _check_vary(pipeline, count, temperature, keep)
    selection = pipeline.select(source, choice)
    batch = pipeline.batch(selection)
    code = pipeline.encode(batch)
    generator = pipeline.generator(seed)
    base = varied(code.base[0], pipeline.deviations(count, generator), amount)
    original = pipeline.decode(code.base, code.condition)
    if keep is None:
        decoded = pipeline.decode(base, code.condition, temperature=temperature, generator=generator).cpu()
    else:
        base, decoded = with_aspect(pipeline, batch.target, code, base, keep, generator.initial_seed())
    same = original.expand_as(decoded).cpu()
    scores = pipeline.domain.metrics(decoded, same, same)
    listed = ", ".join(f"{name} {values.float().mean():.3g}" for name, values in scores.items())
    distance = (base - code.base).flatten(1).norm(dim=1).mean() / code.base[0].numel() ** 0.5
    remarks = [
        f"{selection.label} at amount {amount:g}: {distance:.2f} standard deviations away in latent space; "
        f"against the reconstruction: {listed}"
    ]
    kept = [] if keep is None else _shares_kept(pipeline.domain, decoded, batch.target.cpu().expand_as(decoded), keep)
    remarks += [] if keep is None else [_kept_remark(kept, keep).removeprefix("; ")]
    remarks += pipeline.remark_on_spread
    return Morph(
        pipeline.domain, name="variations", part="variation", first="reconstruction",
        tensor=torch.cat([original.cpu(), decoded])[:, None], frame=selection.frame, remarks=remarks,
    )  # fmt: skip


def vary_whole(
    pipeline: Pipeline,
    source: Any,
    amount: float,
    count: int,
    seed: int | None,
    temperature: float,
    keep: str | None,
) -> Morph:
    """Variations of a whole media object in its frame; see `TrainedModel.vary_whole`."""
    _check_vary(pipeline, count, temperature, keep)
    domain, generator = pipeline.domain, pipeline.generator(seed)
    item = pipeline.open(source)
    windows = [(window, pipeline.encode(window.batch)) for window in domain.windows(item)]
    # One draw for all windows, so that what is repeated is varied alike.
    draws = pipeline.deviations(count, generator)
    wholes, kept = [], []
    for draw in draws:
        answers = []
        for window, code in windows:
            base = torch.cat([varied(one, draw[None], amount) for one in code.base])
            if keep is None:
                decoded = pipeline.decode(base, code.condition, temperature=temperature, generator=generator).cpu()
            else:
                seed = generator.initial_seed()
                _, decoded = with_aspect(pipeline, window.batch.target, code, base, keep, seed)
            answers.append((window, decoded))
            kept.append(_shares_kept(domain, decoded, window.batch.target.cpu(), keep))
        wholes.append(domain.assemble(item, answers))
    remarks = [f"amount {amount:g}" + _kept_remark([share for shares in kept for share in shares], keep)]
    remarks += pipeline.remark_on_spread
    return Morph(domain, name="variations", part="variation", items=wholes, remarks=remarks)


def _check_vary(pipeline: Pipeline, count: int, temperature: float, keep: str | None) -> None:
    pipeline.refuse_restorer("vary")
    check_count(count)
    check_draw(temperature, 1.0)
    if keep is None:
        return
    if not isinstance(pipeline.domain, ComparesAspects):
        raise MusicaeError(f"keep is for music, and this model's data is {pipeline.domain.name}; leave it out.")
    valid = [name for name in pipeline.domain.aspects if name != NOTES]
    if keep not in valid:
        raise MusicaeError(unknown_name("aspect", keep, valid))
    if temperature > 0:
        raise ValueError("with an aspect to keep only the code varies; leave temperature at 0")


def with_aspect(
    pipeline: Pipeline, target: Tensor, code: Code, base: Tensor, aspect: str, seed: int
) -> tuple[Tensor, Tensor]:
    """Codes near varied ones whose examples keep an aspect of the target, and of its notes no more than those did.

    Args:
        pipeline: its domain compares aspects.
        target: `(examples, *spec.shape)`.
        code: of the examples.
        base: `(rows, *latent_shape)`, varied codes: of each example as many.
        aspect: what to keep.
        seed: of the search.

    Returns:
        Codes `(rows, *latent_shape)`, and what they decode to, `(rows, *spec.shape)` on the CPU.
    """
    domain = pipeline.domain
    assert isinstance(domain, ComparesAspects)
    each = torch.arange(len(target)).repeat_interleave(len(base) // len(target))
    condition = None if code.condition is None else code.condition[each.to(code.condition.device)]
    wanted, start = target.cpu()[each], code.base[each.to(code.base.device)]
    changed = domain.kept(pipeline.decode(base, condition).cpu(), wanted, NOTES)

    def first(rows: slice, generator: torch.Generator) -> Tensor:
        """On the way to the variations, and around it."""
        ahead, behind = base[rows].unsqueeze(1), start[rows].unsqueeze(1)
        way = 0.5 + 0.5 * torch.rand((POPULATION, *[1] * (base.dim() - 1)), generator=generator, device=base.device)
        around = torch.randn((POPULATION, *base.shape[1:]), generator=generator, device=base.device)
        return behind + way * (ahead - behind) + _AROUND * (1 - way) * around

    def cost(decoded: Tensor, rows: Tensor) -> Tensor:
        lost = 1 - domain.kept(decoded, wanted[rows], aspect)
        too_alike = (domain.kept(decoded, wanted[rows], NOTES) - changed[rows]).clamp_min(0)
        return _LOST * lost + too_alike

    found = search(pipeline, first, cost, len(base), seed, condition=condition, good_enough=_CLOSE)
    return found.base, found.tensor


def _shares_kept(domain: Any, decoded: Tensor, target: Tensor, keep: str | None) -> list[dict[str, float]]:
    """The shares of the notes and of an aspect that examples keep, one for each; none where they are not compared."""
    if not isinstance(domain, ComparesAspects):
        return []
    names = [name for name in (keep, NOTES) if name is not None]
    shares = {name: domain.kept(decoded, target, name).tolist() for name in names}
    return [{name: shares[name][row] for name in names} for row in range(len(decoded))]


def _kept_remark(shares: list[dict[str, float]], keep: str | None) -> str:
    """What is kept on average, for people."""
    if not shares:
        return ""
    means = {name: sum(row[name] for row in shares) / len(shares) for name in shares[0]}
    return f"{'; ' if keep is None else '; kept: '}" + ", ".join(
        f"{name} {share:.0%}" if keep else f"{name} kept {share:.0%}" for name, share in means.items()
    )


def check_draw(temperature: float, top_p: float) -> None:
    """Raises `ValueError` for a temperature below 0, or a top-p outside of 0 to 1."""
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature is a number of 0 or more, got {temperature}")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p is above 0 and at most 1, got {top_p}")


def _windows(pipeline: Pipeline, length: int | None) -> tuple[int, list[str]]:
    """Number of windows for a length in bars, rounded up, and a remark if that changes the length."""
    if length is None:
        return 1, []
    spec = pipeline.domain.spec
    if not spec.segment:
        raise MusicaeError(f"{pipeline.domain.name} has no bars to count a length in; leave --length out.")
    if length < 1:
        raise ValueError(f"length is 1 bar or more, got {length}")
    windows = -(-length // spec.segments)
    if length % spec.segments:
        bars = windows * spec.segments
        return windows, [f"{length} bars become {bars}, a multiple of the model's {spec.segments}"]
    return windows, []


def check_count(count: int) -> None:
    """Raises `ValueError` unless it is a number of results that can be asked for."""
    if not isinstance(count, int) or not 1 <= count <= MAX_COUNT:
        raise ValueError(f"count is a whole number between 1 and {MAX_COUNT}, got {count}")
