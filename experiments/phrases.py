"""Long music as codes of two bars in a row: rates, what draws are like, and bars that are filled in."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from held_out import held_out
from recipes import RECIPES
from stored import trained_model
from torch import Tensor

from musicae.data.dataset import DataSet, load_dataset, unseen
from musicae.evaluation.evaluate import evaluate
from musicae.music.statistics import line_statistics
from musicae.music.tokens import FIRST_ONSET
from musicae.nn.phrase_prior import PhrasePrior
from musicae.trained import TrainedModel

MODEL, OUTSIDE = "melody-16bar", "nottingham"
GAP = 3
"""The phrase that is filled in, from 0: bars 7 and 8 of 16."""
_MOST = 1000  # windows


def phrases(sets: Path, runs: Path) -> dict[str, Any]:
    """Scores on each book, samples beside real music, and gaps."""
    trained = trained_model(runs, MODEL)
    dataset = held_out(trained, MODEL, sets)
    kept = unseen(trained.domain, dataset, "test")
    found: dict[str, Any] = {"gaps": gaps(trained, dataset), "all books": evaluate(trained, dataset)}
    for name in RECIPES[MODEL].sets:
        book = load_dataset(trained.domain, [sets / name])
        assert dataset.identity is not None and book.identity is not None
        own = kept[np.isin(dataset.identity[kept], book.identity)]
        if len(own):
            found[name] = evaluate(trained, replace(dataset, splits={**dataset.splits, "test": own}))
    outside = load_dataset(trained.domain, [sets / OUTSIDE]).all_for_testing()
    found[OUTSIDE] = evaluate(trained, outside, split="all", limit=_MOST)
    return found


def gaps(trained: TrainedModel, dataset: DataSet, split: str = "test", seed: int = 0) -> dict[str, float]:
    """Two bars in the middle, given all others and given none: what they cost, and whether they stay in the key.

    Returns:
        `nats_a_note` and `nats_a_note_alone`, the negative ELBO of the true bars over their notes, given all other
        phrases or none; `in_scale_real` and `in_scale_infilled`, the share of stretches of six bars (the gap and the
        phrases beside it) that stay in one scale.
    """
    network, prior = trained.network, trained.network.latent.prior
    assert isinstance(prior, PhrasePrior)
    kept = unseen(trained.domain, dataset, split)
    kept = kept[:: max(1, math.ceil(len(kept) / _MOST))]
    generator = torch.Generator().manual_seed(seed)
    asked = torch.arange(prior.phrases) == GAP
    nats = {"": 0.0, "_alone": 0.0}
    shares: dict[str, list[np.ndarray]] = {"real": [], "infilled": []}
    notes = 0
    with torch.no_grad():
        for rows in np.array_split(kept, -(-len(kept) // 256)):
            target, condition = trained.domain.tensor(torch.from_numpy(np.array(dataset.examples[rows])))
            scored = network.score(target, generator=generator, condition=condition)
            size, length = prior.size, target.shape[1] // prior.phrases
            code, steps = slice(GAP * size, (GAP + 1) * size), slice(GAP * length, (GAP + 1) * length)
            likely = network.likelihood.log_prob(scored.parameters[:, steps], target[:, steps])
            cost = -likely - scored.posterior.numbers(code).entropy()
            nats[""] += float((cost - prior.log_prob_given(scored.z, asked, ~asked)).sum())
            nats["_alone"] += float((cost - prior.log_prob_given(scored.z, asked, asked & ~asked)).sum())
            filled = target.clone()
            label, spread = network.label_of_rest(target, asked), network.completion_spread
            completed = network.completed(scored.posterior.mean, asked, generator, spread, condition, label)
            filled[:, steps] = trained.pipeline.decode_codes(completed, condition)[:, steps]
            for name, tensor in (("real", target), ("infilled", filled)):
                for tokens, bar_steps in _lines(trained, tensor):
                    bars = 2 * bar_steps
                    around = tokens[:, (GAP - 1) * bars : (GAP + 2) * bars]
                    shares[name].append(line_statistics(around, bar_steps).shares["in_scale"])
                    if name == "real":
                        notes += int((tokens[:, GAP * bars : (GAP + 1) * bars] >= FIRST_ONSET).sum())
    found = {f"in_scale_{name}": float(np.nanmean(np.concatenate(parts))) for name, parts in shares.items()}
    costs = {f"nats_a_note{name}": total / notes for name, total in nats.items()}
    return {"windows": float(len(kept)), **costs, "below_alone": 1 - nats[""] / nats["_alone"], **found}


def _lines(trained: TrainedModel, tensor: Tensor) -> Iterator[tuple[np.ndarray, int]]:
    """The melodies of a batch as they sound, by time signature, with the steps of a bar."""
    config = trained.domain.config
    for group in config.slots.groups(tensor, config.plan.vocabulary):
        yield group.tokens[..., 0].numpy(), config.signatures[group.number].steps_per_bar
