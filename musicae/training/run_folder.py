"""A run's folder on disk: its checkpoints, the pointer to the best and the last of them, and the lock.

    run.json                        which checkpoint is the best, which the last
    checkpoints/step-000300/        model.safetensors config.json, perhaps attributes.safetensors
    checkpoints/step-000500/        the same, and state.safetensors state.json of the last one: what resuming needs
    metrics.jsonl previews/ tensorboard/

A checkpoint is written under a name that nothing points to, and flushed to the disk. Then `run.json` is replaced, which
is atomic: before that the run is what it was, after it everything is new. What nothing points to is removed. So a kill
at any instant leaves a run that can be loaded and resumed. Nothing here knows the loop.
"""

import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import nn

from musicae.atomic_io import (
    NO_SPACE,
    atomic_write,
    free_path,
    free_space,
    recover_folder,
    sync_files,
    sync_folder,
)
from musicae.config import load_json
from musicae.errors import CheckpointError, MusicaeError, sentence_of
from musicae.models.autoencoder import Autoencoder
from musicae.shipped import POINTER, checkpoint_of, read_pointer
from musicae.tensor_files import write_tensors
from musicae.training.checkpoint import Manifest, read_tensors, with_present_names, write_checkpoint

_CHECKPOINTS, _LOCK = "checkpoints", ".lock"
_STATE_TENSORS, _STATE_COUNTERS = "state.safetensors", "state.json"
_MOST_COPIES = 8
"""Numbers of a state for each number of a model: weights, their average, two moments and a step; and room for more."""
_FORMER_STATE = "state"
"""Former runs have the folders `best`, `last` and `state`, and no pointer."""
_FORMER = ("best", "last", _FORMER_STATE)
_STATE_BYTES = 1_000_000
"""Largest `state.json`."""


class RunFolder:
    """A run's folder.

    Args:
        path: the folder; it is made when something is first written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def best(self) -> Path:
        """The folder of the best checkpoint; of the last, before the first evaluation."""
        return checkpoint_of(self.path, "best") or self.last

    @property
    def last(self) -> Path:
        """The folder of the last checkpoint, from which the run can be resumed.

        Raises:
            CheckpointError: the folder holds no run.
        """
        last = checkpoint_of(self.path, "last")
        if last is None:
            raise CheckpointError(f"{self.path} holds no run; give the folder that a training made.")
        return last

    @property
    def holds_a_run(self) -> bool:
        """Whether a run was begun here."""
        return checkpoint_of(self.path, "last") is not None or any((self.path / name).exists() for name in _FORMER)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from training in this folder, and removes what a killed one left behind.

        The system unlocks it when the process ends, however that happens. A file system without locks is used
        unlocked.

        Raises:
            MusicaeError: another process trains here.
        """
        lock = FileLock(self.path / _LOCK)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with suppress(NotImplementedError):  # the file system has no locks
                lock.acquire(timeout=0)
            self._recover()
            yield
        except Timeout:
            raise MusicaeError(
                f"another process is training in {self.path}; wait until it ends, or choose another --out."
            ) from None
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            raise MusicaeError(self._unsaved(error)) from None
        finally:
            lock.release()

    def save(
        self,
        name: str,
        model: Autoencoder,
        manifest: Manifest,
        *,
        points: Collection[str],
        state: "RunState | None" = None,
    ) -> Path:
        """Writes a checkpoint and points to it; the run is as before until everything is written.

        Args:
            name: of the checkpoint, such as `step-000500`; a number is added where it is taken.
            model: whose weights to store.
            manifest: the rest.
            points: which of the names `best`, `last` and `final` mean this checkpoint from now on.
            state: what resuming needs.

        Returns:
            The checkpoint's folder.

        Raises:
            MusicaeError: it cannot be written, as when no space is left.
        """
        with self.new_checkpoint(name, points=points) as folder:
            write_checkpoint(folder, model, manifest)
            if state is not None:
                state.write(folder)
        return folder

    @contextmanager
    def new_checkpoint(self, name: str, *, points: Collection[str]) -> Iterator[Path]:
        """Yields the folder of a new checkpoint; points to it when the block is done. See `save`."""
        folder = free_path(self.path / _CHECKPOINTS / name)
        try:
            if not (self.path / POINTER).exists():
                self._write_pointer(self._pointer())  # from now on a folder without one has lost it
            folder.mkdir(parents=True)
            yield folder
            sync_files(folder)
            sync_folder(folder.parent)
            sync_folder(self.path)
            self._point(folder, points)
        except (OSError, MusicaeError) as error:
            raise MusicaeError(self._unsaved(error)) from None
        finally:
            if folder.name not in {place.rpartition("/")[2] for place in read_pointer(self.path).values()}:
                shutil.rmtree(folder, ignore_errors=True)
        self._remove_unused()

    def _unsaved(self, error: Exception) -> str:
        reason = str(error).rstrip(".")
        cause = error if isinstance(error, OSError) else error.__context__
        if isinstance(cause, OSError) and cause.strerror:
            reason = f"{cause.filename or self.path}: {cause.strerror}"
        return (
            f"{self.path} cannot be written ({reason}; {free_space(self.path)}); the run is as it was when it was last "
            "saved. Free some space, then continue it with --resume."
        )

    def _point(self, folder: Path, names: Collection[str]) -> None:
        place = folder.relative_to(self.path).as_posix()
        pointer = {**self._pointer(), **dict.fromkeys(names, place)}
        if pointer.get("final") != pointer.get("best"):
            pointer.pop("final", None)
        self._write_pointer(pointer)

    def _write_pointer(self, pointer: Mapping[str, str]) -> None:
        with atomic_write(self.path / POINTER) as partial:
            partial.write_text(json.dumps(pointer, indent=2) + "\n", encoding="utf-8")

    def _pointer(self) -> dict[str, str]:
        """What the names point to; for a former run its folders."""
        pointer = read_pointer(self.path)
        former = {name: name for name in ("best", "last") if not pointer and (self.path / name).is_dir()}
        return pointer or former

    @property
    def is_final(self) -> bool:
        """Whether the best checkpoint has everything that is added after training."""
        pointer = read_pointer(self.path)
        return bool(pointer) and pointer.get("final") == pointer.get("best", pointer.get("last"))

    def _recover(self) -> None:
        for name in _FORMER:
            recover_folder(self.path / name)
        for leftover in self.path.glob(f".{Path(POINTER).stem}-*.partial"):
            leftover.unlink(missing_ok=True)
        for leftover in self.path.glob(".*.writing-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        checkpoints = self.path / _CHECKPOINTS
        if not (self.path / POINTER).exists() and checkpoints.is_dir() and any(checkpoints.iterdir()):
            raise CheckpointError(
                f"{self.path} has checkpoints, but no {POINTER}, which says what they are; choose another --out. "
                f"Each folder in {checkpoints} can be given as a model."
            )
        self._remove_unused()

    def _remove_unused(self) -> None:
        """Removes checkpoints that nothing points to, and the state of those that are not the last."""
        pointer = read_pointer(self.path)
        used = set(pointer.values())
        checkpoints = self.path / _CHECKPOINTS
        for folder in sorted(checkpoints.iterdir()) if checkpoints.is_dir() else ():
            place = f"{_CHECKPOINTS}/{folder.name}"
            if place not in used:
                shutil.rmtree(folder, ignore_errors=True)
            elif place != pointer.get("last"):
                for name in (_STATE_COUNTERS, _STATE_TENSORS):
                    (folder / name).unlink(missing_ok=True)
        if pointer:
            for name in _FORMER:
                if name not in used and not (name == _FORMER_STATE and pointer.get("last") == "last"):
                    shutil.rmtree(self.path / name, ignore_errors=True)

    def read_state(self, into: "RunState") -> dict[str, Any]:
        """Reads the state of the last checkpoint into model, average and optimizer, and returns the counters.

        Raises:
            CheckpointError: there is no state, or it is damaged or of another model.
        """
        last = self.last
        return into.read(self.path / _FORMER_STATE if last == self.path / "last" else last)


class RunState:
    """What a run needs to continue exactly, beside the averaged weights' checkpoint.

    No random state is kept, since the loop seeds every step anew.

    Args:
        model: its weights as they are trained.
        average: their moving average.
        optimizer: its state for each parameter.
        counters: plain numbers, such as the step.
    """

    def __init__(
        self,
        model: nn.Module,
        average: nn.Module,
        optimizer: torch.optim.Optimizer,
        counters: Mapping[str, Any] | None = None,
    ) -> None:
        self.model, self.average, self.optimizer, self.counters = model, average, optimizer, dict(counters or {})

    def write(self, folder: Path) -> None:
        """Writes `state.safetensors` and `state.json`.

        Raises:
            MusicaeError: they cannot be written, as when no space is left.
        """
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in slots.items()}
        (folder / _STATE_COUNTERS).write_text(json.dumps(self.counters) + "\n", encoding="utf-8")
        write_tensors(folder / _STATE_TENSORS, tensors)

    def read(self, folder: Path) -> dict[str, Any]:
        """Reads a state into model, average and optimizer, and returns the counters.

        A state of an older version is read if only the names of layers differ.

        Raises:
            CheckpointError: there is none, or it is damaged or of another model.
        """
        counters = folder / _STATE_COUNTERS
        if not counters.is_file():
            raise CheckpointError(f"nothing to resume in {folder}: it has no {_STATE_COUNTERS}.")
        try:
            if counters.stat().st_size > _STATE_BYTES:
                raise ValueError(f"{_STATE_COUNTERS} is too large")
            read = load_json(counters.read_text(encoding="utf-8"))
            if not isinstance(read, dict):
                raise ValueError(f"{_STATE_COUNTERS} is no table")
            numbers = sum(value.numel() for value in self.model.state_dict().values())
            tensors = read_tensors(folder / _STATE_TENSORS, _MOST_COPIES * numbers + 1000)
            self._fill(with_present_names(tensors))
        except (RuntimeError, LookupError, ValueError, TypeError, OSError) as error:
            raise CheckpointError(
                f"{folder} is damaged, or of another model ({sentence_of(error)}); start a new run."
            ) from error
        return read

    def _fill(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.model.load_state_dict(_below("model.", tensors))
        self.average.load_state_dict(_below("average.", tensors))
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        slots: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in _below("optimizer.", tensors).items():
            index, slot = name.split(".", 1)
            parameter = parameters[int(index)].detach()
            # The fused update goes through memory in order, so a slot needs the memory format of its parameter.
            laid_out = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
            slots.setdefault(int(index), {})[slot] = laid_out
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})


def _below(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def cut_metrics(path: Path, step: int) -> None:
    """Drops the lines of `metrics.jsonl` that were written after a step, and a line that a kill cut short.

    A resumed run writes them again.
    """
    if not path.is_file():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    kept = []
    for line in lines:
        with suppress(ValueError, TypeError, KeyError):
            if json.loads(line)["step"] <= step and line.endswith(b"\n"):
                kept.append(line)
    if len(kept) < len(lines):
        with atomic_write(path) as partial:
            partial.write_bytes(b"".join(kept))
