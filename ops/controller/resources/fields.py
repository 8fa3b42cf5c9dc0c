"""What the three kinds share: aliases of types, conditions, parsing and writing."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, ClassVar, TypeVar, cast

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from ops.errors import ResourceError

GROUP, VERSION = "midwatch.dev", "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
TEXT_MAX = 512  # characters of a sentence in a status
OBJECT_NAME_MAX, LABEL_MAX = 253, 63  # characters of an object's name, of a label's value

Name = Annotated[
    str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
]
LabelKey = Annotated[
    str,
    Field(
        max_length=317,
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
    ),
]
LabelValue = Annotated[
    str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")
]
Text = Annotated[str, Field(max_length=TEXT_MAX)]
# A pattern, not `format: date-time`: with that a server of 1.36 takes a list in a string's place.
Time = Annotated[
    str,
    Field(
        max_length=40,
        pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3])"
        r":[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[-+][0-9]{2}:[0-9]{2})$",
    ),
]
Ratio = Annotated[float, Field(ge=0.0, le=1.0)]

CAMEL = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class ConditionStatus(StrEnum):
    """Value of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One observation of an object's state, as Kubernetes writes them (metav1.Condition)."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    type: Annotated[str, Field(max_length=316, description="What is observed.")]
    status: Annotated[ConditionStatus, Field(description="True, False or Unknown.")]
    reason: Annotated[
        str,
        Field(
            min_length=1,
            max_length=1024,
            pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
            description="One word for the cause of the last change, in CamelCase.",
        ),
    ]
    message: Annotated[
        str, Field(max_length=32768, description="The same in a sentence, with values.")
    ]
    last_transition_time: Annotated[Time, Field(description="When status last changed.")]
    observed_generation: Annotated[
        int, Field(ge=0, description="Generation of the spec that this speaks of.")
    ] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRef:
    """Where the report is."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL

    config_map: Annotated[
        str, Field(max_length=253, description="ConfigMap of the same namespace, gzip content.")
    ] = ""
    sha256: Annotated[str, Field(max_length=64, description="Of the HTML page.")] = ""
    bundle: Annotated[
        str, Field(max_length=1024, description="Path of the bundle on the optional volume.")
    ] = ""


T = TypeVar("T")


def parse(kind: type[T], raw: Any, *, path: str) -> T:
    """Read a spec or a status; what the schema does not know is ignored, as the server prunes it.

    Args:
        path: what messages call it, e.g. "Fleet shop/chat: spec".

    Raises:
        ResourceError: values that do not fit, all of them with their paths.
    """
    try:
        found: T = _adapter(cast("Hashable", kind)).validate_python({} if raw is None else raw)
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, item['loc'])) or '(whole)'}: {item['msg']}, "
            f"got {repr(item.get('input'))[:80]}"
            for item in error.errors()[:20]
        ]
        raise ResourceError(f"{path}: {'; '.join(faults)}; mend the object") from error
    return found


def to_object(value: Any) -> dict[str, Any]:
    """A spec or a status as the API server stores it: camelCase, without what is None."""
    plain: dict[str, Any] = _adapter(cast("Hashable", type(value))).dump_python(
        value, mode="json", by_alias=True, exclude_none=True
    )
    return plain


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Building one takes 20 ms, using it 20 us; a status is written every few seconds."""
    return TypeAdapter(kind)


def name_of(raw: Mapping[str, Any]) -> str:
    """`namespace/name` of an object, for messages."""
    meta = raw.get("metadata") or {}
    return f"{meta.get('namespace', '')}/{meta.get('name', '')}"
