"""How alike two batches of music are, stream by stream."""

import torch

from musicae.music.codec import FIRST_ONSET
from musicae.music.drums import DRUM_PITCHES
from musicae.music.parts import Part


def score_batch(part: Part, estimate: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
    """Scores windows `(batch, steps, streams)`.

    Returns:
        `accuracy`: share of steps with the right token. `onset_f1`: of a line, an onset is right where
        the target has the same pitch at the same step; of drums, a hit is right where the target has the
        same drum at the same step; 1 where neither has any, 0 where only one has. Of several streams each
        has its own, such as `accuracy_bass`, and those without a name are the streams' means.
    """
    names = [f"_{stream.name}" for stream in part.streams]
    scores: dict[str, torch.Tensor] = {}
    for index, stream in enumerate(part.streams):
        ours, wanted = estimate[..., index], target[..., index]
        scores[f"accuracy{names[index]}"] = (ours == wanted).double().mean(dim=1)
        scores[f"onset_f1{names[index]}"] = _hit_f1(ours, wanted) if stream.is_drums else _onset_f1(ours, wanted)
    means = {
        measure: torch.stack([scores[measure + name] for name in names]).mean(dim=0)
        for measure in ("accuracy", "onset_f1")
    }
    return {name: value.float() for name, value in (means | (scores if len(names) > 1 else {})).items()}


def _onset_f1(estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Of lines `(batch, steps)`."""
    estimated, wanted = estimate >= FIRST_ONSET, target >= FIRST_ONSET
    return _f1((estimate == target) & wanted, estimated, wanted)


def _hit_f1(estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Of drums `(batch, steps)`."""
    bits = torch.arange(len(DRUM_PITCHES), device=target.device)
    estimated, wanted = ((tokens[..., None] >> bits) & 1 == 1 for tokens in (estimate, target))
    return _f1((estimated & wanted).flatten(1), estimated.flatten(1), wanted.flatten(1))


def _f1(right: torch.Tensor, estimated: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Bool `(batch, places)` each → `(batch,)`."""
    hits = right.sum(dim=1).double()
    total = (estimated.sum(dim=1) + wanted.sum(dim=1)).double()
    return torch.where(total > 0, 2 * hits / total.clamp(min=1), torch.ones_like(hits))
