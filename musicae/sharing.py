"""`push` and `pull`: a model as a repository on the Hugging Face Hub has it, and a copy of one in a folder.

The files are those of `PyTorchModelHubMixin` (huggingface_hub): `model.safetensors`, `config.json` and a model card.
The weights go as they are stored. A model that shares some with a shipped one goes whole, so that it loads elsewhere.
Of `config.json` nothing goes that only says something of the machine: paths of folders, and the command line.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from musicae.atomic_io import atomic_files, check_writable
from musicae.domains import domain_class
from musicae.errors import MusicaeError, in_short
from musicae.hub import CARD, MOST_BYTES, VECTORS, HubPlace, Upload, fetch, upload
from musicae.shipped import HUB, MANIFEST, POINTER, PRETRAINED, WEIGHTS, find_model, model_name, shipped_models
from musicae.tensor_files import TensorFile
from musicae.trained import TrainedModel
from musicae.training.checkpoint import Manifest, read_manifest, write_whole_weights

_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,79}")
_STATED = re.compile(r"^The weights: (?P<licence>\S.*?)[,.](?: |$)", re.MULTILINE)
_FRONT = re.compile(r"\A---\n(?P<fields>.*?)^---\n", re.DOTALL | re.MULTILINE)
_FIELD = re.compile(r"^license: *(\S+)", re.MULTILINE)
_NO_LICENCE, _NO_DATA_LICENCE = "The weights: no licence is stated.", "The data: no licence is stated."
_OF_THE_MACHINE = ("command",)
"""Keys of a manifest's environments that are not pushed."""


def push(
    model: str | Path | TrainedModel,
    to: str,
    *,
    private: bool = False,
    token: str | None = None,
    licence: str | None = None,
    data_licence: str | None = None,
    message: str | None = None,
) -> Upload:
    """Pushes a model to the Hugging Face Hub, in one commit.

    Args:
        model: a run's folder (its best checkpoint goes), a checkpoint's folder, a shipped name, or a model that was
            loaded from one of these or trained.
        to: `hf://user/name`, made where it does not exist; with `@branch` a branch of it.
        private: whether a new repository is private.
        token: with the right to write; by default that of `HF_TOKEN` or of `hf auth login`.
        licence: of the weights, by the Hub's name, such as `cc-by-4.0`; of a shipped model it is known.
        data_licence: of the data, in words, for the card.
        message: of the commit.

    Returns:
        Where it is, and the address of the commit's page.

    Raises:
        CheckpointError: no such model, or a damaged one.
        MusicaeError: no such name, no right to write there, or no network.
        ValueError: a model that lies in no folder.
    """
    place = HubPlace.read(to)
    folder = model.folder if isinstance(model, TrainedModel) else find_model(str(model))
    if folder is None:
        raise ValueError("this model lies in no folder; save it in a run, or push the folder of a checkpoint.")
    manifest = read_manifest(folder)
    with TensorFile(folder / WEIGHTS):
        pass  # its header is checked before anything is sent
    card = _card(folder, manifest, place, _licence(licence), data_licence)
    content = json.dumps(_for_others(manifest).model_dump(mode="json"), indent=2) + "\n"
    files: dict[str, Path | bytes] = {MANIFEST: content.encode(), WEIGHTS: folder / WEIGHTS, CARD: card.encode()}
    if (folder / VECTORS).is_file():
        files[VECTORS] = folder / VECTORS
    with tempfile.TemporaryDirectory() as temporary:
        if manifest.shares is not None:
            files[WEIGHTS] = Path(temporary) / WEIGHTS
            write_whole_weights(folder, Path(temporary) / WEIGHTS)
        message = message or f"{model_name(folder)}, with musicae {manifest.musicae_version}"
        return upload(to, files, message=message, private=private, token=token)


def pull(model: str, out: str | Path, *, token: str | None = None) -> Path:
    """Copies a model from the Hugging Face Hub into a folder, which then loads without the Hub.

    Args:
        model: `hf://user/name`, or with `@revision`.
        out: the folder; files of another model there are replaced, others stay.
        token: by default that of `HF_TOKEN` or of `hf auth login`; a public repository needs none.

    Returns:
        The folder.

    Raises:
        CheckpointError: the repository holds no model of musicae's, or a damaged or newer one.
        MusicaeError: no such repository, no right to read it, no network, or a folder that can't be written.
    """
    out = Path(out)
    check_writable(out, folder=True)
    if (out / POINTER).exists():
        raise MusicaeError(f"{out} is the folder of a run; choose another --out.")
    folder = fetch(model, token)
    read_manifest(folder)
    with TensorFile(folder / WEIGHTS):
        pass  # its header is checked before anything is written
    with atomic_files(out) as temporary:
        for name in MOST_BYTES:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, temporary / name)
    for name in MOST_BYTES:
        if not (folder / name).is_file():
            (out / name).unlink(missing_ok=True)
    return out


def licence_in(card: str) -> str | None:
    """The licence of the weights that a model card states, by the Hub's name; None if it states none."""
    front = _FRONT.match(card)
    if front:
        stated = _FIELD.search(front["fields"])
        return stated[1] if stated else None
    found = _STATED.search(card)
    name = _as_hub_names_it(found["licence"]) if found else ""
    return name if _LICENCE.fullmatch(name) else None


def _as_hub_names_it(licence: str) -> str:
    return licence.strip().lower().replace(" ", "-")


def _licence(licence: str | None) -> str | None:
    """A licence as the Hub names it. Raises `MusicaeError` for what is no name."""
    if licence is None:
        return None
    name = _as_hub_names_it(licence)
    if not _LICENCE.fullmatch(name):
        raise MusicaeError(
            f"{in_short(licence)} is no licence's name; give one as the Hub does: mit, cc-by-4.0, other."
        )
    return name


def _for_others(manifest: Manifest) -> Manifest:
    """A manifest without what only says something of the machine; the names of its data's folders stay."""
    settings = _without_folders(manifest.model_dump(mode="json"))
    data = {**settings["data"]}
    places = [PurePosixPath(str(path).replace("\\", "/")).name for path in data.get("paths") or []]
    if places:
        data |= {"paths": [], "sets": places}
    environments = [
        {key: value for key, value in row.items() if key not in _OF_THE_MACHINE} for row in settings["environments"]
    ]
    return Manifest.model_validate({**settings, "data": data, "environments": environments, "shares": None})


def _without_folders(value: Any) -> Any:
    """The same, where each absolute path is its last name alone."""
    if isinstance(value, dict):
        return {key: _without_folders(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_folders(inner) for inner in value]
    if isinstance(value, str) and not value.startswith(HUB):
        for path in (PurePosixPath(value), PureWindowsPath(value)):
            if path.is_absolute():
                return path.name
    return value


def _card(folder: Path, manifest: Manifest, place: HubPlace, licence: str | None, data_licence: str | None) -> str:
    """The model card, with metadata for the Hub: that of the model's folder, or one of what the manifest says."""
    path = folder / CARD
    if not path.is_file():
        card = _front_matter(manifest) + "\n\n".join(_new_card(manifest, place)) + "\n"
        return _with_licences(card, licence, data_licence)
    card = path.read_text(encoding="utf-8")
    stated = licence_in(card)
    if licence is not None and stated not in (None, licence):
        raise MusicaeError(
            f"{path} says that the licence of the weights is {stated}; change it there, or give no other."
        )
    if not _FRONT.match(card):
        parts = [card.strip(), "## From the Hub", *_usage(manifest, place)]
        if manifest.shares is not None:
            parts.append(f"Here it has all its weights, those that it shares with `{manifest.shares}` too.")
        card = _front_matter(manifest) + "\n\n".join(parts) + "\n"
    return _with_licences(card, licence or stated, data_licence)


def _with_licences(card: str, licence: str | None, data_licence: str | None) -> str:
    """A card that states licences where it stated none."""
    front = _FRONT.match(card)
    if licence is not None and front and not _FIELD.search(front["fields"]):
        card = card.replace("---\n", f"---\nlicense: {licence}\n", 1)
        card = card.replace(_NO_LICENCE, f"The weights: {licence}.", 1)
    if data_licence is None:
        return card
    stated = f"The data: {_one_line(data_licence)}."
    return card.replace(_NO_DATA_LICENCE, stated, 1) if _NO_DATA_LICENCE in card else f"{card.rstrip()}\n\n{stated}\n"


def _front_matter(manifest: Manifest) -> str:
    """Metadata as the Hub reads them: https://huggingface.co/docs/hub/model-cards."""
    model = [] if ":" in manifest.model else [manifest.model]
    tags = dict.fromkeys(["autoencoder", manifest.domain, manifest.task, *model])
    return "\n".join(["---", "library_name: musicae", "tags:", *(f"- {tag}" for tag in tags), "---", "", ""])


def _usage(manifest: Manifest, place: HubPlace) -> Iterator[str]:
    given = f", network_class={manifest.model.rpartition(':')[2]}" if ":" in manifest.model else ""
    example = f"example{domain_class(manifest.domain).suffixes[0]}"
    lines = ["import musicae", "", f'model = musicae.load("{place}"{given})']
    lines.append(f'result = model.{manifest.task}("{example}")')
    yield "```python\n" + "\n".join(lines) + "\n```"
    if not given:
        yield f"```bash\nmusicae {manifest.task} {example} --model {place}\n```"


def _new_card(manifest: Manifest, place: HubPlace) -> Iterator[str]:
    """The paragraphs of a card."""
    yield f"# {place.repository.rpartition('/')[2]}"
    yield (
        f"An autoencoder of musicae {manifest.musicae_version}: domain `{manifest.domain}`, task `{manifest.task}`, "
        f"model `{manifest.model}`."
    )
    yield "## Use"
    yield from _usage(manifest, place)
    yield "## Scores"
    if manifest.metrics:
        yield (
            "As they were recorded during training, on examples that were kept for choosing the checkpoint, so they "
            "flatter it a little. `musicae evaluate` scores it on others."
        )
        rows = [f"| {_one_line(name)} | {value:.4g} |" for name, value in manifest.metrics.items()]
        yield "\n".join(["| score | value |", "| --- | --- |", *rows])
    else:
        yield "None were recorded."
    yield "## Training"
    yield from _training(manifest)
    yield "## Licence"
    yield _NO_LICENCE
    yield _NO_DATA_LICENCE


def _training(manifest: Manifest) -> Iterator[str]:
    examples = manifest.data.get("examples")
    if isinstance(examples, dict):
        counts = [f"{examples.get(split)} {what}" for split, what in _SPLITS.items() if split in examples]
        yield f"Examples: {', '.join(counts)}."
    if not manifest.data.get("complete", True):
        yield "The training had not ended when this was stored."
    start = manifest.training.get("start_from")
    if isinstance(start, str):
        card = PRETRAINED / start / CARD if start in shipped_models() else None
        licence = licence_in(card.read_text(encoding="utf-8")) if card and card.is_file() else None
        named = f"`{_one_line(str(_without_folders(start)))}`"
        yield f"It started from the weights of {named}" + (f", whose licence is {licence}." if licence else ".")
    settings = _without_folders({**manifest.domain_settings, **manifest.model_settings, **manifest.training})
    yield "```json\n" + json.dumps(settings, indent=1) + "\n```"


_SPLITS: Mapping[str, str] = {
    "train": "for training",
    "validation": "for choosing the checkpoint",
    "test": "kept for testing",
}


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
