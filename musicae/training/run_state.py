"""What an interrupted run needs to go on exactly: weights, their average, the optimiser's slots, counters.

Safetensors and JSON, like a checkpoint. No random state is kept: the loop seeds every step anew.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from musicae.atomic_io import atomic_folder
from musicae.errors import CheckpointError
from musicae.training.checkpoint import read_tensors, with_present_names, write_tensors

_TENSORS, _COUNTERS = "state.safetensors", "state.json"


def write_state(
    folder: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, counters: Mapping[str, float]
) -> None:
    """Writes a run's state, replacing an earlier one."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in slots.items()}
    with atomic_folder(folder) as temporary:
        write_tensors(temporary / _TENSORS, tensors, place=folder)
        (temporary / _COUNTERS).write_text(json.dumps(counters))


def read_state(folder: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Fills model, average and optimizer with what `write_state` wrote, and returns the counters.

    States of older versions are read where only the names of layers differ.

    Raises:
        CheckpointError: there is nothing, or it is damaged.
    """
    if not (folder / _COUNTERS).is_file():
        raise CheckpointError(f"nothing to resume in {folder.parent}: it has no {folder.name}/.")
    try:
        return _filled(folder, model, average, optimizer)
    except (RuntimeError, KeyError, IndexError, ValueError) as error:
        raise CheckpointError(f"{folder} is damaged, or of another model ({error}); start a new run.") from error


def _filled(folder: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    tensors = with_present_names(read_tensors(folder / _TENSORS))
    model.load_state_dict(_below("model.", tensors))
    average.load_state_dict(_below("average.", tensors))
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in _below("optimizer.", tensors).items():
        index, slot = name.split(".", 1)
        parameter = parameters[int(index)].detach()
        # The fused update walks memory in order, so a slot must lie as its parameter does (channels last).
        laid_out = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
        slots.setdefault(int(index), {})[slot] = laid_out
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
    counters: dict[str, Any] = json.loads((folder / _COUNTERS).read_text())
    return counters


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
