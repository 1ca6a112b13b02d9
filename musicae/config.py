"""Configs: frozen records that report an unknown key or a bad value in one clear sentence."""

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from musicae.errors import MusicaeError, unknown_name


class Config(BaseModel):
    """Base of every config: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    for key in settings:
        if key not in config_type.model_fields:
            raise MusicaeError(unknown_name(what, key, config_type.model_fields))
    try:
        return config_type.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        subject = f"{what} {key}={first['input']!r}" if key else what
        raise MusicaeError(f"{subject}: {message[:1].lower()}{message[1:]}.") from error
