"""Whether the files that the settings name are there, readable and not empty.

Apart from the settings themselves: a mounted Secret may come after the process, so a missing file
keeps nobody from starting. `--check` calls it a fault, a running process warns and goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ops.controller.resources.fields import to_object
from ops.controller.settings import Settings, checked, faulty, read_settings
from ops.controller.token_file import read_token
from ops.errors import SettingsError

logger = logging.getLogger(__name__)
_FILE, _TOKEN = ("File", "_file"), ("tokenFile", "token_file")  # ends of keys; both forms are read
_BASIC = ("basicAuthFile", "basic_auth_file")
_FREE = ("headers", "addLabels", "add_labels")  # names in there are the user's


def named_files(settings: Settings) -> dict[str, Path]:
    """Every file that is named, by its place in the settings, e.g. "worker.tokenFile"."""
    return dict(_files(to_object(settings)))


def file_faults(files: Mapping[str, Path]) -> list[str]:
    """What is wrong with files, each with its place; the content is never told."""
    told = [(place, _fault(place, path)) for place, path in files.items()]
    return [f"{place}: {fault}" for place, fault in told if fault]


def check_settings(path: Path) -> Settings:
    """The settings, whose values and files are all right.

    Raises:
        SettingsError: every fault of either kind at once.
    """
    raw = read_settings(path)
    settings, faults = checked(raw)
    faults += file_faults(dict(_files(raw)))
    if settings is None or faults:
        raise faulty(str(path), faults)
    return settings


def warn_of_files(files: Mapping[str, Path]) -> None:
    """Say at the start of a process what it will lack."""
    for fault in file_faults(files):
        logger.warning("%s; until then what needs it does not work", fault)


def _files(value: Any, place: str = "") -> Iterator[tuple[str, Path]]:
    if not isinstance(value, Mapping):
        return
    for key, inner in value.items():
        inside = f"{place}.{key}" if place else str(key)
        if isinstance(inner, str) and str(key).endswith(_FILE):
            yield inside, Path(inner)
        elif key not in _FREE:
            yield from _files(inner, inside)


def _fault(place: str, path: Path) -> str:
    """Empty where the file can be used."""
    try:
        if place.endswith(_TOKEN):
            read_token(path)
        elif not path.read_bytes().strip():
            what = "user:password" if place.endswith(_BASIC) else "a certificate or key in PEM"
            return f"{path} is empty; write {what} into it"
    except SettingsError as error:
        return str(error)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        because = getattr(error, "strerror", None) or error
        return f"{path} cannot be read: {because}; mount the Secret there"
    return ""
