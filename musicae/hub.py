"""Models on the Hugging Face Hub: `hf://user/name`, or `hf://user/name@revision`.

A repository has the files of a checkpoint at its top, under the names that the Hub's own libraries use:
`model.safetensors`, `config.json`, `README.md`, and `attributes.safetensors` where the model has attribute vectors.
These are asked for by name and none else, the settings first, and none that is larger than its limit. They lie in
huggingface_hub's own cache, so what was fetched once loads without a network too.

huggingface_hub is imported when it is needed. Nothing here knows torch, or what is in the files beyond the first look
at `config.json`.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from musicae import __version__
from musicae.atomic_io import NO_SPACE
from musicae.config import MOST_JSON_BYTES, read_json
from musicae.errors import CheckpointError, MusicaeError, in_short, sentence_of
from musicae.shipped import HUB, MANIFEST, WEIGHTS

CARD, VECTORS = "README.md", "attributes.safetensors"
MOST_BYTES = {MANIFEST: MOST_JSON_BYTES, WEIGHTS: 2**32, VECTORS: 2**26, CARD: 2**22}
"""File of a repository → the largest that is fetched. A billion weights in float32 are the most that is loaded."""
NEWEST = "main"
"""The revision that is taken where none is named."""

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?")
_LONGEST_NAME = 96
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TOKEN = re.compile(r"[!-~]+")
_LIBRARY: dict[str, Any] = {"library_name": "musicae", "library_version": __version__}
_HOW_TO_ALLOW = "give --token, set HF_TOKEN, or run: hf auth login"


@dataclass(frozen=True)
class HubPlace:
    """A repository on the Hub.

    Attributes:
        repository: `user/name`.
        revision: a branch, a tag or a commit; None for the newest commit.
    """

    repository: str
    revision: str | None = None

    @classmethod
    def read(cls, text: str) -> "HubPlace":
        """Reads `hf://user/name@revision`, of which a path may have dropped a slash.

        Raises:
            MusicaeError: it is no such name.
        """
        place = text.replace("\\", "/").removeprefix(HUB).lstrip("/")
        repository, at, revision = place.partition("@")
        user, slash, name = repository.partition("/")
        is_named = slash and all(_NAME.fullmatch(part) for part in (user, name)) and len(repository) <= _LONGEST_NAME
        if not is_named or "--" in repository or ".." in repository or name.endswith(".git"):
            raise MusicaeError(
                f"{in_short(text)} names no repository; expected hf://USER/NAME or hf://USER/NAME@REVISION, of "
                "letters, digits, '-', '_' and '.'."
            )
        if at and (not _REVISION.fullmatch(revision) or ".." in revision or "//" in revision):
            raise MusicaeError(
                f"{in_short(text)} names no revision; expected a branch, a tag or a commit after the @, such as @main."
            )
        return cls(repository, revision or None)

    def __str__(self) -> str:
        return f"hf://{self.repository}" + (f"@{self.revision}" if self.revision else "")


class Upload(NamedTuple):
    """What was pushed.

    Attributes:
        model: where, with the commit, as `musicae.load` and `--model` take it.
        url: of the page that shows the commit.
    """

    model: str
    url: str


def fetch(model: str, token: str | None = None) -> Path:
    """Downloads a model into huggingface_hub's cache, unless it is there.

    Args:
        model: `hf://user/name`, or with `@revision`.
        token: None: that of the environment or of `hf auth login`, if there is one.

    Returns:
        The folder of the files, a checkpoint's.

    Raises:
        CheckpointError: the repository holds no model of musicae's, or too large a file.
        MusicaeError: no such name, repository or revision, no right to read it, no network, or no huggingface_hub.
    """
    place = HubPlace.read(model)
    with _errors_of(place, token):
        settings = _newest_settings(place, token)
        _check_settings(place, settings)
        folder = settings.parent
        at = HubPlace(place.repository, folder.name)
        for name in (WEIGHTS, VECTORS, CARD):
            if _fetch_file(at, name, token) is None and name == WEIGHTS:
                raise _no_model(place, f"it has no {WEIGHTS}")
    return folder


def upload(
    to: str, files: Mapping[str, Path | bytes], *, message: str, private: bool = False, token: str | None = None
) -> Upload:
    """Commits the files of a model to a repository, which is made where there is none.

    Args:
        to: `hf://user/name`; with `@branch` the branch is made too.
        files: keys of `MOST_BYTES` → path or content. One of these that the repository has and that isn't given is
            removed, since it belongs to another model; other files stay.
        message: of the commit.
        private: make a private repository.
        token: as in `fetch`, but one is needed.

    Raises:
        MusicaeError: no such name, no right to write there, a repository that should be private and is public, no
            network, or no huggingface_hub.
    """
    place = HubPlace.read(to)
    revision = place.revision or NEWEST
    with _errors_of(place, token, writes=True):
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

        hub = HfApi(token=token, **_LIBRARY)
        hub.create_repo(place.repository, private=private or None, exist_ok=True)
        if private and not hub.model_info(place.repository).private:
            raise MusicaeError(f"{place} is there already, and public; choose another name, or leave out --private.")
        if place.revision is not None:
            hub.create_branch(place.repository, branch=place.revision, exist_ok=True)
        left = [name for name in MOST_BYTES if name not in files]
        gone = [name for name in left if hub.file_exists(place.repository, name, revision=revision)]
        commit = hub.create_commit(
            place.repository,
            [CommitOperationAdd(name, content) for name, content in files.items()]
            + [CommitOperationDelete(name) for name in gone],
            commit_message=message,
            revision=revision,
        )
        return Upload(str(HubPlace(place.repository, commit.oid)), commit.commit_url)


def _newest_settings(place: HubPlace, token: str | None) -> Path:
    """`config.json` of a revision in the cache: that of the newest commit, or without a network of the last one."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        found = _fetch_file(place, MANIFEST, token)
    except Exception as error:
        if not _is_no_answer(error):
            raise
        try:
            return Path(
                hf_hub_download(place.repository, MANIFEST, revision=place.revision or NEWEST, local_files_only=True)
            )
        except LocalEntryNotFoundError:
            raise error from None
    if found is None:
        raise _no_model(place, f"it has no {MANIFEST}")
    return found


def _fetch_file(place: HubPlace, name: str, token: str | None) -> Path | None:
    """A file in the cache, where it is put if need be. None where the repository has no file of this name."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError

    revision = place.revision or NEWEST
    if _COMMIT.fullmatch(revision):  # a branch or a tag may have moved since
        known = try_to_load_from_cache(place.repository, name, revision=revision)
        if isinstance(known, str):
            return Path(known)
    try:
        stated = get_hf_file_metadata(hf_hub_url(place.repository, name, revision=revision), token=token, **_LIBRARY)
    except EntryNotFoundError:
        return None
    except Exception as error:
        # Without an answer what is in the cache has to do; only the weights can't be missed.
        if name != MANIFEST and name != WEIGHTS and _is_no_answer(error):
            return None
        raise
    if stated.size is None or stated.size > MOST_BYTES[name]:
        size = "of unknown size" if stated.size is None else f"of {stated.size:,} bytes"
        raise CheckpointError(f"{place} has a {name} {size}; at most {MOST_BYTES[name]:,} bytes are fetched.")
    return Path(hf_hub_download(place.repository, name, revision=revision, token=token, **_LIBRARY))


def _check_settings(place: HubPlace, path: Path) -> None:
    """Raises `CheckpointError` where a `config.json` is another program's, before the weights are fetched."""
    try:
        content = read_json(path)
    except ValueError as error:
        raise _no_model(place, f"its {MANIFEST} can't be read: {sentence_of(error, 200)}") from None
    if not isinstance(content, dict) or not {"format_version", "domain"} <= content.keys():
        raise _no_model(place, f"its {MANIFEST} is that of another program")


def _no_model(place: HubPlace, reason: str) -> CheckpointError:
    return CheckpointError(f"{place} holds no model of musicae's ({reason}); name a repository that musicae push made.")


@contextmanager
def _errors_of(place: HubPlace, token: str | None, *, writes: bool = False) -> Iterator[None]:
    """Says in one sentence what went wrong, without the token."""
    try:
        _check_token(token)
        yield
    except MusicaeError:
        raise
    except ImportError as error:
        raise MusicaeError(f"{place} needs the package huggingface_hub: pip install 'musicae[hub]'.") from error
    except Exception as error:  # the Hub's client passes on the errors of two others, for HTTP and for large files
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            raise MusicaeError(f"no space is left for {place}; free some, or move the cache with HF_HOME.") from error
        raise MusicaeError(_sentence(place, error, writes=writes)) from error


def _check_token(token: str | None) -> None:
    """Raises `MusicaeError` for a token that no request can carry: the error of a request would show it."""
    if token is None:
        from huggingface_hub import get_token

        token = get_token()
    if token is not None and not _TOKEN.fullmatch(token):
        raise MusicaeError("the token is empty or holds spaces or other signs that no token has; copy it anew.")


def _sentence(place: HubPlace, error: Exception, *, writes: bool) -> str:
    from huggingface_hub import errors

    if type(error) is RuntimeError and isinstance(error.__cause__, Exception):
        error = error.__cause__  # of an upload in another thread
    status = _status(error)
    if isinstance(error, errors.GatedRepoError):
        return f"{place} is given to those who accept its terms; do that on its page, then {_HOW_TO_ALLOW}."
    if isinstance(error, errors.RevisionNotFoundError):
        return f"hf://{place.repository} has no revision {place.revision}; leave it out for the newest."
    if writes and status == 401:
        return f"pushing to {place} needs a token with the right to write: {_HOW_TO_ALLOW}."
    if status == 403:
        right = "write to" if writes else "read"
        return f"the token may not {right} {place}; take another token or name: {_HOW_TO_ALLOW}."
    if isinstance(error, errors.RepositoryNotFoundError) or status == 401:
        return (
            f"there is no repository {place}, or it is private and may not be read without a token that allows it; "
            f"check the name, or {_HOW_TO_ALLOW}."
        )
    said = sentence_of(error, 200) or type(error).__name__
    if _is_no_answer(error):
        besides = "" if writes else f", and {place} is not in its cache"
        return f"the Hub gives no answer ({said}){besides}; check the network, or try again later."
    return f"could not {'push to' if writes else 'get'} {place} ({said}); check the name and try again."


def _is_no_answer(error: Exception) -> bool:
    """Whether the Hub can't be reached, or is out of order, or huggingface_hub was told to stay offline."""
    status = _status(error)
    if status is not None:
        return status >= 500 or status == 429
    # httpx2 in huggingface_hub 2, httpx in 1.
    return isinstance(error, (ConnectionError, TimeoutError)) or type(error).__module__.startswith("httpx")


def _status(error: Any) -> int | None:
    """The status of the Hub's answer."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None
