"""Checkpoints, and the state from which a run is resumed: folders of safetensors and JSON; no pickle anywhere.

A checkpoint is `model.safetensors` and `config.json`; the JSON rebuilds the model *and* the domain, see `Manifest`.
Folders are written atomically. Weights are stored in float32, float16 or int8, and always loaded as float32.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from musicae import __version__
from musicae.atomic_io import atomic_folder
from musicae.config import Config, read_config
from musicae.domain import Domain
from musicae.domains import domain_class
from musicae.errors import CheckpointError, MusicaeError
from musicae.models import build_model, model_name
from musicae.models.autoencoder import Autoencoder
from musicae.shipped import MANIFEST, WEIGHTS

FORMAT_VERSION = 1
"""Version of the folder's layout; a newer one is refused."""

StoredAs = Literal["float32", "float16", "int8"]

_SCALE = ".int8_scale"
"""Suffix: the scales of tensor `NAME` are stored as `NAME.int8_scale`."""
_STATE_TENSORS, _STATE_COUNTERS = "state.safetensors", "state.json"
_LEAST_QUANTISED = 4096
"""Tensors of fewer numbers stay float16: they take little space, and biases and norms suffer from rounding."""

RENAMED = {
    r"\bshrink\b": "downsample",
    r"\benlarge\b": "upsample",
    r"\bplaces\b": "position_embedding",
    # Models of music. `widen` is also a layer of each dense block; there a number stands before it.
    r"\bseen\b": "input_embedding",
    r"\bbefore\b": "previous_embedding",
    r"\bjoin\b": "phrase_encoder",
    r"\bconduct\b": "phrase_decoder",
    r"\bjoin_phrases\b": "piece_encoder",
    r"\bpart_phrases\b": "piece_decoder",
    r"\bamong_read\b": "encoder_attention",
    r"\bamong_parted\b": "decoder_attention",
    r"(?<!\d\.)\bwiden\b": "step_projection",
    r"\baround\b": "local_context",
    r"\btold_encoder\b": "condition_encoder",
    r"\btold_decoder\b": "condition_decoder",
    # The causal restorer.
    r"\benter\b": "input_projection",
    r"\bleave\b": "output_projection",
}
"""Regular expression → replacement, for names of tensors in older checkpoints."""


class Manifest(Config):
    """The content of `config.json`.

    Attributes:
        format_version: of the folder's layout; a newer one is refused.
        musicae_version: of the package that wrote it.
        domain, domain_settings: a key of `DOMAINS`, and its config.
        task: what it was trained for: `reconstruct`, `denoise`, `upscale`.
        model, model_settings: a key of `MODELS`, or the import path of a class of the user's own
            ("package.module:Class", which is never imported by itself), and its config.
        training: the training config.
        data: paths, fingerprint and counts of what it was trained on.
        metrics: scores at the time of saving.
    """

    format_version: int = FORMAT_VERSION
    musicae_version: str = __version__
    domain: str
    domain_settings: dict[str, Any]
    task: str
    model: str
    model_settings: dict[str, Any]
    training: dict[str, Any] = Field(default={})
    data: dict[str, Any] = Field(default={})
    metrics: dict[str, float] = Field(default={})

    def build_domain(self) -> Domain:
        """Builds the domain. Raises `MusicaeError` for a name or a setting that this version does not know."""
        cls = domain_class(self.domain)
        return cls(read_config(cls.Config, self.domain_settings, f"{self.domain} setting"))


def read_manifest(folder: Path) -> Manifest:
    """Reads the `config.json` of a checkpoint's folder.

    Raises:
        CheckpointError: it is missing, damaged, or written by a newer version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise CheckpointError(f"{folder} is no model: it has no {MANIFEST}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["format_version"]
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise CheckpointError(f"{path} is damaged; train or copy the model anew.") from error
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format {version}, this musicae {__version__} reads up to {FORMAT_VERSION}; upgrade musicae."
        )
    try:
        return read_config(Manifest, content, "config.json key")
    except CheckpointError:
        raise
    except MusicaeError as error:
        raise CheckpointError(f"{path}: {error}") from error


def save_checkpoint(folder: Path, model: Autoencoder, manifest: Manifest, *, weights: StoredAs = "float32") -> None:
    """Writes a checkpoint, replacing one of the same name.

    Args:
        folder: the checkpoint's folder.
        model: whose weights to store.
        manifest: the rest.
        weights: how they are stored, for shipping: `float16`, or `int8` for large ones (see `quantise`) and float16
            for the others.

    Raises:
        MusicaeError: the weights cannot be written, as when no space is left.
    """
    tensors = {name: value.detach() for name, value in model.state_dict().items()}
    if weights == "int8":
        tensors = quantise(tensors)
    if weights != "float32":
        tensors = {
            name: value.half() if value.is_floating_point() and not name.endswith(_SCALE) else value
            for name, value in tensors.items()
        }
    with atomic_folder(folder) as temporary:
        _write_tensors(temporary / WEIGHTS, tensors, place=folder)
        content = json.dumps(manifest.model_dump(mode="json"), indent=2)
        (temporary / MANIFEST).write_text(content + "\n", encoding="utf-8")


def load_checkpoint(folder: Path, model_class: type[Autoencoder] | None = None) -> tuple[Autoencoder, Domain, Manifest]:
    """Rebuilds model (on the CPU, in evaluation mode) and domain.

    Args:
        folder: the checkpoint's folder.
        model_class: of a model that is none of `MODELS`: code that a file names is never imported by itself.

    Raises:
        CheckpointError: missing, damaged, written by a newer version, or of a class that was not given.
    """
    manifest = read_manifest(folder)
    _check_class(folder, manifest.model, model_class)
    try:
        domain = manifest.build_domain()
        model = build_model(model_class or manifest.model, domain.spec, manifest.model_settings)
    except CheckpointError:
        raise
    except (MusicaeError, ValueError) as error:
        raise CheckpointError(f"{folder / MANIFEST} does not fit musicae {__version__}: {error}") from error
    tensors = with_present_names(read_tensors(folder / WEIGHTS))
    try:
        model.load_state_dict({name: _as_float32(value) for name, value in tensors.items()})
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights in {folder} are not those of its config.json; train or copy it anew."
        ) from error
    return model.eval(), domain, manifest


def _check_class(folder: Path, stored: str, given: type[Autoencoder] | None) -> None:
    """Raises `CheckpointError` where a class of the user's own is needed and not given, or another is given.

    Classes are compared by name: the file that defines one may have moved since.
    """
    if given is None:
        if ":" in stored:
            raise CheckpointError(
                f"{folder} holds a model of the class {stored}, which is not part of musicae and is not imported by "
                f"itself; give the class: musicae.load({str(folder)!r}, network_class={_class_name(stored)})."
            )
    elif _class_name(model_name(given)) != _class_name(stored):
        raise CheckpointError(f"{folder} holds a model {stored}, not {model_name(given)}.")


def _class_name(model: str) -> str:
    return model.rpartition(":")[2].rpartition(".")[2]


def take_over(model: Autoencoder, folder: Path) -> int:
    """Copies the weights of a trained model into a new one, where names and shapes fit.

    That may be all of them, or the layers for phrases, from a model of short pieces to one of long pieces.

    A learned prior is copied only if everything fits, since codes of another model are distributed differently.

    Args:
        model: changed in place.
        folder: a checkpoint's.

    Returns:
        How many tensors were taken over.

    Raises:
        CheckpointError: no such checkpoint, or nothing in it fits.
    """
    own = model.state_dict()
    stored = with_present_names(read_tensors(folder / WEIGHTS))
    fits = {name: name in own and value.shape == own[name].shape for name, value in stored.items()}
    is_same = stored.keys() == own.keys() and all(fits.values())
    weights = {
        name: _as_float32(value)
        for name, value in stored.items()
        if is_same or (fits[name] and not name.startswith("latent."))
    }
    if not weights:
        raise CheckpointError(f"nothing in {folder} fits this model; start from one of the same type and sizes.")
    model.load_state_dict(weights, strict=False)
    return len(weights)


def write_state(
    folder: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, counters: Mapping[str, float]
) -> None:
    """Writes what a run needs to continue exactly, replacing an earlier state.

    No random state is kept, since the loop seeds every step anew.

    Args:
        folder: the state's folder.
        model: its weights as they are trained.
        average: their moving average.
        optimizer: its state for each parameter.
        counters: plain numbers, such as the step.

    Raises:
        MusicaeError: it cannot be written, as when no space is left.
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in slots.items()}
    with atomic_folder(folder) as temporary:
        _write_tensors(temporary / _STATE_TENSORS, tensors, place=folder)
        (temporary / _STATE_COUNTERS).write_text(json.dumps(counters))


def read_state(folder: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Reads what `write_state` wrote into model, average and optimizer, and returns the counters.

    A state of an older version is read if only the names of layers differ.

    Raises:
        CheckpointError: there is no state, or it is damaged or of another model.
    """
    if not (folder / _STATE_COUNTERS).is_file():
        raise CheckpointError(f"nothing to resume in {folder.parent}: it has no {folder.name}/.")
    try:
        return _fill_from(folder, model, average, optimizer)
    except (RuntimeError, KeyError, IndexError, ValueError) as error:
        raise CheckpointError(f"{folder} is damaged, or of another model ({error}); start a new run.") from error


def _fill_from(folder: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    tensors = with_present_names(read_tensors(folder / _STATE_TENSORS))
    model.load_state_dict(_below("model.", tensors))
    average.load_state_dict(_below("average.", tensors))
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in _below("optimizer.", tensors).items():
        index, slot = name.split(".", 1)
        parameter = parameters[int(index)].detach()
        # The fused update goes through memory in order, so a slot needs the memory format of its parameter.
        laid_out = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
        slots.setdefault(int(index), {})[slot] = laid_out
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
    counters: dict[str, Any] = json.loads((folder / _STATE_COUNTERS).read_text())
    return counters


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _write_tensors(path: Path, tensors: Mapping[str, Tensor], *, place: Path) -> None:
    """Writes a safetensors file.

    Args:
        path: the file, perhaps in a temporary folder.
        tensors: by name, on any device.
        place: the folder that an error names.

    Raises:
        MusicaeError: it cannot be written, as when no space is left.
    """
    try:
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path)
    except SafetensorError as error:
        raise MusicaeError(f"cannot write {place}: {error}; free some space or choose another folder.") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Reads a safetensors file; int8 tensors become float32.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; the model folder is incomplete.")
    try:
        return dequantise(load_file(path))
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); train or copy the model anew.") from error


def with_present_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the tensors of a model to what its layers are called today.

    Args:
        tensors: by name; a prefix such as "average.module." may stand before the model's own names.
    """
    return {_present_name(name): value for name, value in tensors.items()}


def _present_name(name: str) -> str:
    for pattern, present in RENAMED.items():
        name = re.sub(pattern, present, name)
    return name


def quantise(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Quantises large matrices and kernels to int8, symmetrically, with a float32 scale for each output channel.

    A weight is stored as round(w / s) with s = max |w| / 127 over its channel, the first axis: the error is at most
    s / 2 (Krishnamoorthi, 2018, "Quantizing deep convolutional networks for efficient inference", section 3.1).

    Returns:
        The tensors, int8 where large, and for each of these its scales, named `NAME.int8_scale`.
    """
    stored = {}
    for name, value in tensors.items():
        if not value.is_floating_point() or value.dim() < 2 or value.numel() < _LEAST_QUANTISED:
            stored[name] = value
            continue
        scale = (value.flatten(1).abs().amax(1) / 127).clamp_min(torch.finfo(torch.float32).tiny)
        stored[name] = (value / _along_first(scale, value)).round().to(torch.int8)
        stored[name + _SCALE] = scale
    return stored


def dequantise(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `quantise`, up to rounding; other tensors as they are."""
    return {
        name: value if name + _SCALE not in tensors else value.float() * _along_first(tensors[name + _SCALE], value)
        for name, value in tensors.items()
        if not name.endswith(_SCALE)
    }


def _along_first(scale: Tensor, like: Tensor) -> Tensor:
    return scale.view(-1, *(1 for _ in like.shape[1:]))


def _as_float32(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value
