"""Checkpoints: folders of safetensors and JSON; no pickle anywhere.

A checkpoint is `model.safetensors` and `config.json`; the JSON rebuilds the model *and* the domain, see `Manifest`.
Folders are written atomically. Weights are stored in float32, float16 or int8 to int4, and always loaded as float32.
"""

import json
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from musicae import __version__
from musicae.atomic_io import atomic_folder
from musicae.config import Config, read_config, read_json
from musicae.domain import Domain
from musicae.domains import domain_class
from musicae.errors import CheckpointError, MusicaeError, in_short, sentence_of, unknown_name
from musicae.models import build_model, model_name
from musicae.models.autoencoder import Autoencoder
from musicae.models.meta import shapes_only
from musicae.shipped import MANIFEST, PRETRAINED, WEIGHTS
from musicae.tensor_files import MOST_NUMBERS, TensorFile, halved, quantise, quantise_in_groups, write_tensors

FORMAT_VERSION = 1
"""Version of the folder's layout; a newer one is refused."""
_BITS_OF_DRAWING = 4
"""Of a weight of what only draws codes, where the others have four to six; see notebooks/LOG.md for what it costs."""
_MOST_OPTIONAL = 2**24
"""Numbers of a tensor that former checkpoints lack, and that is made at its default."""

StoredAs = Literal["float32", "float16", "int8", "int6", "int5", "int4"]

RENAMED = {
    r"\bprior\.(?=net\.|bases$)": "prior.sequence.",
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
        task: what it was trained for, one of the domain's `tasks`.
        model, model_settings: a key of `MODELS`, or the import path of a class of the user's own
            ("package.module:Class", which is never imported by itself), and its config.
        training: the training config.
        data: paths, fingerprint and counts of what it was trained on.
        metrics: scores at the time of saving.
        shares: a shipped model whose tensors these weights go on with: what is equal is stored there alone.
        shares_sha256: of those tensors, as they are stored there; without it, or with another, nothing is loaded.
        environments: versions, commit, command and device; one for the beginning, and one for each resumption.
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
    shares: str | None = Field(default=None, max_length=64, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    shares_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    environments: tuple[dict[str, Any], ...] = ()

    @property
    def data_paths(self) -> tuple[Path, ...]:
        """The files and folders that it was trained on; empty for data in memory.

        Raises:
            CheckpointError: the entry is damaged.
        """
        paths = self.data.get("paths", [])
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise CheckpointError(f"{MANIFEST} is damaged (the paths of its data); name the files with --data.")
        return tuple(map(Path, paths))

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
        content = read_json(path)
        version = content["format_version"]
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({sentence_of(error.strerror or error)}).") from error
    except (ValueError, TypeError, KeyError) as error:
        reason = f" ({sentence_of(error, 200)})" if type(error) is ValueError else ""
        raise CheckpointError(f"{path} is damaged{reason}; train or copy the model anew.") from error
    if type(version) is not int or version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format {in_short(version)}, this musicae {__version__} reads up to {FORMAT_VERSION}; upgrade "
            "musicae."
        )
    if version < 1:
        raise CheckpointError(f"{path} is damaged (format {in_short(version)}); train or copy the model anew.")
    try:
        return read_config(Manifest, content, "config.json key")
    except CheckpointError:
        raise
    except MusicaeError as error:
        raise CheckpointError(f"{path}: {error}") from error


def save_checkpoint(folder: Path, model: Autoencoder, manifest: Manifest, *, weights: StoredAs = "float32") -> None:
    """Writes a checkpoint, replacing one of the same name. Arguments as in `write_checkpoint`.

    Raises:
        MusicaeError: the weights cannot be written, as when no space is left.
    """
    with atomic_folder(folder) as temporary:
        write_checkpoint(temporary, model, manifest, weights=weights)


def write_checkpoint(folder: Path, model: Autoencoder, manifest: Manifest, *, weights: StoredAs = "float32") -> None:
    """Writes the files of a checkpoint into an empty folder.

    Args:
        folder: the checkpoint's folder.
        model: whose weights to store.
        manifest: the rest; what it says of the weights that it shares is filled in.
        weights: how they are stored, for shipping: `float16`, or `int8` to `int4` for large ones (see
            `musicae.tensor_files`) and float16 for the others.

    Raises:
        MusicaeError: the weights cannot be written, as when no space is left.
    """
    tensors = {name: value.detach() for name, value in model.state_dict().items()}
    with ExitStack() as stack:
        shared = _shared(folder, manifest, model, stack)
        left_out = {name: stored for name, stored in shared.items() if _is_equal(stored, tensors[name])}
        manifest = manifest.model_copy(update={"shares_sha256": _sha256(left_out)})
    tensors = {name: value for name, value in tensors.items() if name not in left_out}
    if weights == "int8":
        tensors = quantise(tensors)
    elif weights.startswith("int"):
        bits = int(weights.removeprefix("int"))
        drawing = {name: value for name, value in tensors.items() if model.is_of_second_stage(name)}
        others = {name: value for name, value in tensors.items() if name not in drawing}
        tensors = quantise_in_groups(others, bits) | quantise_in_groups(drawing, min(bits, _BITS_OF_DRAWING))
    if weights != "float32":
        tensors = halved(tensors)
    content = json.dumps(manifest.model_dump(mode="json"), indent=2)
    (folder / MANIFEST).write_text(content + "\n", encoding="utf-8")
    write_tensors(folder / WEIGHTS, tensors)


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
        if manifest.task not in domain.tasks:
            raise MusicaeError(unknown_name("task", manifest.task, domain.tasks))
        with shapes_only():
            model = build_model(model_class or manifest.model, domain.spec, manifest.model_settings)
    except CheckpointError:
        raise
    except (MusicaeError, ValueError, RuntimeError, ArithmeticError) as error:
        reason = sentence_of(error, 2000)
        raise CheckpointError(f"{folder / MANIFEST} does not fit musicae {__version__}: {reason}.") from error
    with ExitStack() as stack:
        file = stack.enter_context(TensorFile(folder / WEIGHTS))
        own = {present_name(name): _Stored(file, name) for name in file.shapes}
        if len(own) < len(file.shapes):
            raise _other_weights(folder, "two of them have one name")
        shared = {name: at for name, at in _shared(folder, manifest, model, stack).items() if name not in own}
        if manifest.shares is not None and _sha256(shared) != manifest.shares_sha256:
            raise CheckpointError(
                f"{folder} goes on with other weights of {manifest.shares} than this musicae {__version__} has; "
                f"install musicae {in_short(manifest.musicae_version)}, which wrote it, or copy or train it anew."
            )
        stored = shared | own
        _check_fit(folder, model, stored)
        weights = {
            name: _laid_out(stored[name].read(), like) for name, like in model.state_dict().items() if name in stored
        }
    is_complete = model_class is None
    if not is_complete:  # a class of the user's own may make more in its `__init__` than its state holds
        model = build_model(model_class or manifest.model, domain.spec, manifest.model_settings)
    try:
        model.load_state_dict(weights, assign=is_complete)
        _check_weights(model)
    except (RuntimeError, ValueError) as error:
        raise _other_weights(folder, sentence_of(error)) from error
    return model.eval(), domain, manifest


def write_whole_weights(folder: Path, target: Path) -> None:
    """Writes all weights of a checkpoint that shares some with a shipped model into one file, rounded as they are.

    Args:
        folder: the checkpoint's.
        target: the file.

    Raises:
        CheckpointError: as `load_checkpoint`.
        MusicaeError: the file cannot be written.
    """
    model, _, manifest = load_checkpoint(folder)
    with ExitStack() as stack:
        file = stack.enter_context(TensorFile(folder / WEIGHTS))
        own = {present_name(name): _Stored(file, name) for name in file.shapes}
        stored = _shared(folder, manifest, model, stack) | own
        parts = {name: place.file.parts(place.name) for name, place in stored.items()}
        write_tensors(target, {name + suffix: part for name, found in parts.items() for suffix, part in found.items()})


class _Stored(NamedTuple):
    """A tensor in a file."""

    file: TensorFile
    name: str

    def read(self) -> Tensor:
        return self.file.read(self.name)


def _shared(folder: Path, manifest: Manifest, model: Autoencoder, stack: ExitStack) -> dict[str, _Stored]:
    """Name of each of the model's tensors that is stored with the shipped model that it goes on with → where."""
    if manifest.shares is None:
        return {}
    if not (PRETRAINED / manifest.shares / WEIGHTS).is_file():
        raise CheckpointError(
            f"{folder} goes on with the weights of {in_short(manifest.shares)}, which this musicae {__version__} does "
            "not have; upgrade musicae."
        )
    start = stack.enter_context(TensorFile(PRETRAINED / manifest.shares / WEIGHTS))
    places = {model.own_name(present_name(name)): _Stored(start, name) for name in start.shapes}
    return {name: places[name] for name in model.state_dict() if name in places}


def _sha256(shared: Mapping[str, _Stored]) -> str | None:
    """Of tensors that are stored with another model, all in one file; None where there are none."""
    return next(iter(shared.values())).file.sha256(stored.name for stored in shared.values()) if shared else None


def _is_equal(stored: _Stored, value: Tensor) -> bool:
    """Whether a stored tensor is the same, as it is read."""
    if stored.file.shapes[stored.name] != tuple(value.shape):
        return False
    return torch.equal(stored.read().to(value.dtype), value.cpu())


def _check_fit(folder: Path, model: Autoencoder, stored: Mapping[str, _Stored]) -> None:
    """Compares a model's names and shapes with those of files, before memory is taken for either.

    Args:
        folder: the checkpoint's.
        model: built of shapes only.
        stored: its tensors; those that may be missing may be left out.

    Raises:
        CheckpointError: another name, shape or type, or more weights than are loaded.
    """
    own = model.state_dict()
    for name, value in own.items():
        if name not in stored:
            if name in _optional_weights(model) and value.numel() <= _MOST_OPTIONAL:
                continue
            raise _other_weights(folder, f"they have no {name}")
        file, place = stored[name]
        shape = file.shapes[place]
        if shape != tuple(value.shape):
            raise _other_weights(folder, f"{name} is {in_short(shape)}, expected {in_short(tuple(value.shape))}")
        if file.is_float(place) != value.is_floating_point():
            raise _other_weights(folder, f"{name} is stored as another type")
    for name in stored:
        if name not in own:
            raise _other_weights(folder, f"the model has no {in_short(name)}")
    numbers = sum(value.numel() for value in own.values())
    if numbers > MOST_NUMBERS:
        raise CheckpointError(f"{folder} holds a model of {numbers:,} weights; at most {MOST_NUMBERS:,} are loaded.")


def _optional_weights(model: Autoencoder) -> set[str]:
    """Names of a model's tensors that former checkpoints lack, and that its layers then set to a default."""
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        for name in getattr(module, "OPTIONAL_WEIGHTS", ())
    }


def _check_weights(model: Autoencoder) -> None:
    """Raises `ValueError` where a layer cannot compute with its weights, whatever its input."""
    for module in model.modules():
        check = getattr(module, "check_weights", None)
        if check is not None:
            check()


def _other_weights(folder: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"the weights in {folder} are not those of its config.json ({reason}); train or copy it anew."
    )


def _laid_out(value: Tensor, like: Tensor) -> Tensor:
    """A copy of a stored tensor in the type and memory format of a model's own."""
    return torch.empty_strided(like.size(), like.stride(), dtype=like.dtype).copy_(value)


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

    That may be all of them, or the layers for phrases, from a model of short pieces to one of long pieces. A model may
    adapt weights of other sizes (`Autoencoder.adapted`).

    A learned prior is copied only if everything then fits (in a second stage: everything that it keeps), since codes of
    another model are distributed differently, or where the model says itself of which of its parts it is the prior
    (`Autoencoder.adapted`) and the rest fits.

    Args:
        model: changed in place.
        folder: a checkpoint's.

    Returns:
        How many tensors were taken over.

    Raises:
        CheckpointError: no such checkpoint, nothing in it fits, or what training does not change doesn't fit.
    """
    own = {name: value for name, value in model.state_dict().items() if not model.is_fitted_afterwards(name)}
    is_whole = not (folder / MANIFEST).is_file() or read_manifest(folder).shares is None
    stored = with_present_names(read_tensors(folder / WEIGHTS) if is_whole else load_checkpoint(folder)[0].state_dict())
    found = {name: value for name, value in model.adapted(stored).items() if not model.is_fitted_afterwards(name)}
    fits = {
        name: name in own
        and value.shape == own[name].shape
        and value.is_floating_point() == own[name].is_floating_point()
        for name, value in found.items()
    }
    kept = {name for name in own if not model.learns(name)}
    missing = sorted(name for name in kept if not fits.get(name, False))
    if missing:
        raise CheckpointError(
            f"{folder} lacks what this training keeps as it is ({in_short(missing[0])}); start from a model of the "
            "same sizes and settings."
        )
    is_second_stage = any(map(model.is_of_second_stage, own))
    needed = {name: fit for name, fit in fits.items() if not model.is_of_loss(name)}
    is_same = is_second_stage or (
        all(needed.values()) and needed.keys() == {name for name in own if not model.is_of_loss(name)}
    )
    codes_fit = all(fit for name, fit in needed.items() if not name.startswith("latent."))
    weights = {
        name: value
        for name, value in found.items()
        if fits[name] and (is_same or not name.startswith("latent.") or (codes_fit and name not in stored))
    }
    if not weights:
        raise CheckpointError(f"nothing in {folder} fits this model; start from one of the same type and sizes.")
    model.load_state_dict(weights, strict=False)
    try:
        _check_weights(model)
    except ValueError as error:
        raise _other_weights(folder, sentence_of(error)) from error
    return len(weights)


def read_tensors(path: Path, most_numbers: int = MOST_NUMBERS) -> dict[str, Tensor]:
    """Reads a whole tensor file; those in eight bits or fewer become float32.

    Args:
        path: the file.
        most_numbers: refuse a file with more.

    Raises:
        CheckpointError: it is missing or damaged, or holds numbers that are not finite.
    """
    with TensorFile(path) as file:
        return file.read_all(most_numbers)


def with_present_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the tensors of a model to what its layers are called today.

    Args:
        tensors: by name; a prefix such as "average.module." may stand before the model's own names.
    """
    return {present_name(name): value for name, value in tensors.items()}


def present_name(name: str) -> str:
    """What a layer's tensor is called today."""
    for pattern, present in RENAMED.items():
        name = re.sub(pattern, present, name)
    return name
