"""Settings as frozen dataclasses that are checked when they are made."""

from dataclasses import fields
from typing import Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

from deeprig.errors import DeeprigError
from deeprig.settings import source_lines, url_login


class SettingsError(DeeprigError):
    """A setting that cannot work."""


T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True)
def setting_group(part: type[T]) -> type[T]:
    """Make a part of the settings: frozen, checked when it is made.

    A wrong value raises SettingsError naming the inventory line, the host where it can be told,
    the setting, the value and what would be right.
    """
    checked: Any = dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))(part)
    check = checked.__init__

    def __init__(self: T, *args: Any, **values: Any) -> None:
        named = dict(zip((field.name for field in fields(checked)), args, strict=False))
        try:
            check(self, **named, **values)
        except ValidationError as error:
            raise SettingsError(
                source_lines.caller_location() + _sentence(part.__name__, error)
            ) from None

    checked.__init__ = __init__  # pydantic has no hook for an error of our own
    return checked  # type: ignore[no-any-return]  # still the class that came in


def _sentence(part: str, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    name = ".".join([part, *map(str, first["loc"])])
    if first["type"] == "unexpected_keyword_argument":
        return f"{name} is no setting; `docs/settings.md` lists what {part} takes."
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error" and not first["loc"]:
        return f"{message}."
    secret = "password" in name  # somebody may have put the password itself there
    value = "no such line" if secret else url_login.hidden(repr(first["input"]))
    return f"{name} is {value}; {message[0].lower()}{message[1:]}."
