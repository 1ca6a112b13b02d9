"""Configs: frozen records whose unknown keys and bad values are one clear sentence."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from musicae.errors import MusicaeError, unknown_name


class Config(BaseModel):
    """Base of every config: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


ConfigType = TypeVar("ConfigType", bound=Config)


def read_config(kind: type[ConfigType], settings: Mapping[str, Any], what: str) -> ConfigType:
    """Builds a config from what a user wrote.

    Args:
        kind: the config's class.
        settings: its keys and values; text is converted where the field wants a number or a list.
        what: what a key is called in the error: `"model setting"`.

    Raises:
        MusicaeError: an unknown key (lists the valid ones and the closest) or a bad value.
    """
    for key in settings:
        if key not in kind.model_fields:
            raise MusicaeError(unknown_name(what, key, kind.model_fields))
    try:
        return kind.model_validate(dict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        subject = f"{what} {key}={first['input']!r}" if key else what
        raise MusicaeError(f"{subject}: {message[:1].lower()}{message[1:]}.") from error
