"""Coefficient files: read, written, found by GPU and engine version; borrowed where none fits.

A file is TOML: `gpu`, `engine`, `[hardware]`, one table per kernel class, `[[fit]]` with the
errors. The files beside this module were written by `midwatch serving fit-profile`.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from serving.errors import ConfigError
from serving.sim.data_sheets import DATA_SHEETS, DataSheet
from serving.sim.profiles import GPUS, Curve, GpuProfile

HARDWARE = ("flops_per_s", "bytes_per_s", "memory_gib")
CLASSES = ("gemm", "decode", "prefill", "elementwise", "allreduce", "host")
COEFFICIENTS = {
    name: tuple(f.name for f in fields(GpuProfile) if f.name.startswith(f"{name}_"))
    for name in CLASSES
}
FALLBACK_FAMILY = "hopper"  # lends to families without any table


def find_gpu(key: str) -> GpuProfile:
    """Profile by key.

    `A100` is the built-in one where there is one, else the shipped file or, without any,
    data-sheet numbers with borrowed efficiencies (`is_fitted` is then False);
    `A100@vllm-0.14.0` is the shipped file of that engine version.

    Raises:
        ConfigError: the key is unknown.
    """
    if key in GPUS:
        return GPUS[key]
    shipped = shipped_profiles()
    if key in shipped:
        return shipped[key]
    own = [profile for profile in shipped.values() if profile.name == key]
    if own:
        return own[-1]  # of several engine versions, the last by file name
    if key in DATA_SHEETS:
        return borrow(DATA_SHEETS[key])
    raise ConfigError(
        f"GPU {key!r} has no coefficients, choose from {gpu_keys()} or fit its tables with "
        "midwatch serving fit-profile"
    )


def gpu_keys() -> list[str]:
    """Every key of `find_gpu`, sorted."""
    return sorted({*GPUS, *shipped_profiles(), *DATA_SHEETS})


def gpu_key(text: str) -> str:
    """The key that is spelt like `text` but for upper and lower case, or `text` itself."""
    return next((key for key in gpu_keys() if key.lower() == text.lower()), text)


def model_key(text: str) -> str:
    """The key of a model as its publisher spells it: meta-llama/Llama-3.1-8B-Instruct and the like.

    A tuned variant has the shape of its base, so its times are the same.
    """
    return re.sub(r"^meta-(?=llama)|(-instruct|-chat|-hf)+$", "", text.lower().rpartition("/")[2])


@cache
def shipped_profiles() -> Mapping[str, GpuProfile]:
    """The files that come with the package, by key, in order of their names."""
    folder = files("serving.sim").joinpath("coefficients")
    paths = sorted((p for p in folder.iterdir() if p.name.endswith(".toml")), key=lambda p: p.name)
    profiles = [parse_profile(p.read_text(encoding="utf-8"), source=p.name) for p in paths]
    return {profile.key: profile for profile in profiles}


def borrow(sheet: DataSheet) -> GpuProfile:
    """Data-sheet numbers with the efficiencies of a fitted GPU, of the same family if any.

    Everything about it is unfitted, and says so.
    """
    return _lent(sheet, list(shipped_profiles().values()))


def fit_base(sheet: DataSheet, *, engine: str) -> GpuProfile:
    """Where a fit starts: data-sheet numbers and built-in efficiencies, the latter all assumed."""
    return replace(_lent(sheet, list(GPUS.values())), engine=engine)


def _lent(sheet: DataSheet, profiles: Sequence[GpuProfile]) -> GpuProfile:
    """`sheet` with what one of `profiles` reaches; bus bandwidths are scaled by the link's."""
    lenders = [p for p in profiles if p.name == sheet.name]
    for family in (sheet.family, FALLBACK_FAMILY):
        lenders = lenders or [p for p in profiles if DATA_SHEETS[p.name].family == family]
    lender = lenders[-1]
    scale = sheet.link_bytes_per_s / DATA_SHEETS[lender.name].link_bytes_per_s
    return replace(
        lender,
        name=sheet.name,
        engine="",
        flops_per_s=sheet.flops_per_s,
        bytes_per_s=sheet.bytes_per_s,
        memory_gib=sheet.memory_gib,
        allreduce_bytes_per_s=scaled(lender.allreduce_bytes_per_s, scale),
        assumed=(*CLASSES, "mixed"),
        borrowed_from=lender.key,
    )


def scaled(curve: Curve, factor: float) -> Curve:
    """`curve` with its values times `factor`, to three digits."""
    return tuple((x, float(f"{y * factor:.3g}")) for x, y in curve)


def load_profile(path: Path) -> GpuProfile:
    """Profile in a file of the user's.

    Raises:
        ConfigError: unreadable, or not a coefficients file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return parse_profile(text, source=str(path))


def parse_profile(text: str, *, source: str) -> GpuProfile:
    """Profile from the text of a file; `source` names it in errors.

    Raises:
        ConfigError: every fault at once, each with its place.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is not TOML: {error}") from error
    faults: list[str] = []
    values: dict[str, Any] = {name: _number(raw, "hardware", name, faults) for name in HARDWARE}
    for section, names in COEFFICIENTS.items():
        for field in names:
            key = field.removeprefix(f"{section}_")
            read = _curve if field == "allreduce_bytes_per_s" else _number
            values[field] = read(raw, section, key, faults)
    values["mixed_factors"] = _mixed(raw, faults)
    for name in ("gpu", "engine"):
        if not isinstance(raw.get(name), str) or not raw[name]:
            faults.append(f"{name} is {raw.get(name)!r}, expected a name")
    assumed = raw.get("assumed", [])
    if not isinstance(assumed, list) or not all(isinstance(name, str) for name in assumed):
        faults.append(f"assumed is {assumed!r}, expected a list of names")
    if faults:
        raise ConfigError(
            f"{source}: {'; '.join(faults)}; write it with midwatch serving fit-profile"
        )
    return GpuProfile(name=raw["gpu"], engine=raw["engine"], assumed=tuple(assumed), **values)


def encode_profile(profile: GpuProfile, fits: Sequence[Mapping[str, object]] = ()) -> str:
    """Text of a file; `fits` are the rows of `[[fit]]`, for readers only."""
    lines = [
        "# Written by `midwatch serving fit-profile`. Seconds, bytes, FLOP; ratios of the hardware",
        "# numbers. `assumed` names the kernel classes that the tables did not determine.",
        f"gpu = {_text(profile.name)}",
        f"engine = {_text(profile.engine)}",
        f"assumed = {_text(list(profile.assumed))}",
        "",
        "[hardware]",
        *(f"{name} = {_text(getattr(profile, name))}" for name in HARDWARE),
    ]
    for section, names in COEFFICIENTS.items():
        lines += ["", f"[{section}]"]
        lines += [
            f"{field.removeprefix(section + '_')} = {_text(getattr(profile, field))}"
            for field in names
        ]
    for heads, curve in profile.mixed_factors:
        lines += ["", "[[mixed]]", f"heads_per_kv_head = {heads}", f"factors = {_text(curve)}"]
    for fit in fits:
        lines += ["", "[[fit]]", *(f"{name} = {_text(value)}" for name, value in fit.items())]
    return "\n".join(lines) + "\n"


def _text(value: object) -> str:
    """A string, number or nested list as TOML, which writes them as JSON does."""
    return json.dumps(value, ensure_ascii=False)


def _number(raw: Mapping[str, Any], section: str, key: str, faults: list[str]) -> float:
    value = _entry(raw, section, key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e18:
        faults.append(f"{section}.{key} is {value!r}, expected a number >= 0")
        return 0.0
    if value == 0 and (key.endswith("per_s") or not key.endswith(("_s", "half_tokens"))):
        faults.append(f"{section}.{key} is 0, expected more")
    return float(value)


def _curve(raw: Mapping[str, Any], section: str, key: str, faults: list[str]) -> Curve:
    return _points(_entry(raw, section, key), f"{section}.{key}", faults)


def _mixed(raw: Mapping[str, Any], faults: list[str]) -> tuple[tuple[int, Curve], ...]:
    entries = raw.get("mixed")
    if not isinstance(entries, list) or not entries:
        faults.append(f"mixed is {entries!r}, expected at least one [[mixed]] table")
        return ()
    curves = []
    for i, entry in enumerate(entries):
        heads = entry.get("heads_per_kv_head") if isinstance(entry, dict) else None
        if not isinstance(heads, int) or heads < 1:
            faults.append(f"mixed[{i}].heads_per_kv_head is {heads!r}, expected 1 or more")
            continue
        curves.append((heads, _points(entry.get("factors"), f"mixed[{i}].factors", faults)))
    return tuple(curves)


def _points(value: object, path: str, faults: list[str]) -> Curve:
    """[[x, y], ...] with x ascending and y above 0."""
    points: list[tuple[int, float]] = []
    for pair in value if isinstance(value, list) else []:
        match pair:
            case [int() as x, int() | float() as y] if y > 0 and (not points or x > points[-1][0]):
                points.append((x, float(y)))
            case _:
                points.clear()
                break
    if not points:
        faults.append(f"{path} is {value!r}, expected [[x, y], ...] with x ascending and y > 0")
    return tuple(points)


def _entry(raw: Mapping[str, Any], section: str, key: str) -> object:
    table = raw.get(section)
    return table.get(key) if isinstance(table, dict) else None
