"""Configs: frozen records that report an unknown key or a bad value in one clear sentence; and the JSON they come from.

Settings may come from a file that nobody trusts. So a file's size and the depth of its JSON are bounded before anything
is made of it, and an error shows a value in short.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from musicae.errors import MusicaeError, in_short, sentence_of, unknown_name

MOST_JSON_BYTES = 2**24
"""Largest JSON file that is read, 16 MiB: the paths of 150,000 files. Parsing takes up to 30 times as much memory."""
MOST_JSON_DEPTH = 32
"""Deepest nesting of JSON that is read; a checkpoint has 4 levels."""


class Config(BaseModel):
    """Base of every config: frozen, and an unknown key is an error, as are NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    RENAMED: ClassVar[Mapping[str, str]] = {}
    """Former key → present key, so that older checkpoints and scripts can still be read."""


ConfigType = TypeVar("ConfigType", bound=Config)


def has_key(config_type: type[Config], key: str) -> bool:
    """Whether a config has a key, by its present or a former name."""
    return key in config_type.model_fields or key in config_type.RENAMED


def read_config(config_type: type[ConfigType], settings: Mapping[str, Any], what: str) -> ConfigType:
    """Builds a config from what a user wrote.

    Args:
        config_type: the config's class.
        settings: its keys and values; text is converted where the field wants a number or a list.
        what: what a key is called in the error: `"model setting"`.

    Raises:
        MusicaeError: an unknown key (lists the valid ones and the closest) or a bad value.
    """
    settings = {config_type.RENAMED.get(key, key): value for key, value in settings.items()}
    for key, value in settings.items():
        if key not in config_type.model_fields:
            raise MusicaeError(unknown_name(what, key, config_type.model_fields))
        if isinstance(value, bool) and _is_a_number(config_type.model_fields[key].annotation):
            raise MusicaeError(f"{what} {key}={value}: expected a number.")
    try:
        return config_type.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = sentence_of(".".join(str(part) for part in first["loc"]))
        message = sentence_of(first["msg"].removeprefix("Value error, "))
        subject = f"{what} {key}={in_short(first['input'])}" if key else what
        raise MusicaeError(f"{subject}: {message[:1].lower()}{message[1:]}.") from error


def _is_a_number(annotation: Any) -> bool:
    """Whether a field takes a number and no truth value; pydantic takes `true` for 1."""
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return bool not in kinds and bool({int, float} & set(kinds))


def load_json(text: str | bytes) -> Any:
    """Parses JSON whose nesting is bounded.

    Raises:
        ValueError: it is no JSON, or nested more deeply than `MOST_JSON_DEPTH`.
    """
    too_deep = f"it is nested more than {MOST_JSON_DEPTH} levels deep"
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(too_deep) from None
    level = _containers([value])
    for _ in range(MOST_JSON_DEPTH):
        level = [inner for outer in level for inner in _containers(outer)]
    if level:
        raise ValueError(too_deep)
    return value


def _containers(outer: dict[str, Any] | list[Any]) -> list[dict[str, Any] | list[Any]]:
    """The objects and arrays right inside another."""
    inside = outer.values() if isinstance(outer, dict) else outer
    return [inner for inner in inside if isinstance(inner, (dict, list))]


def read_json(path: Path) -> Any:
    """Reads a JSON file whose size and nesting are bounded.

    Raises:
        OSError: it can't be read.
        ValueError: it is no JSON, larger than `MOST_JSON_BYTES`, or nested too deeply.
    """
    with path.open("rb") as file:
        content = file.read(MOST_JSON_BYTES + 1)
    if len(content) > MOST_JSON_BYTES:
        raise ValueError(f"it has more than {MOST_JSON_BYTES // 2**20} MiB")
    return load_json(content.decode("utf-8"))
