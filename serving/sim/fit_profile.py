"""Coefficients of the cost model from measured tables, with their errors.

Each kernel class is fitted on its own: least squares on log ratios with a soft L1 loss for a
start, then relative errors with one that comes ever nearer to their mean absolute value. That mean
itself has edges, and a search that ends on one of them ends on another where a processor's
exponential function differs in its last bit; the softened one has one end (0.0001 worse). The
errors are those of the rounded coefficients. Nothing is drawn, so the same tables give the same
file.

Source: roofline and mixed-batch forms of `serving.sim.roofline` and `CostModel`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from serving.errors import ConfigError
from serving.sim.profile_tables import FILTERS, Array, Columns, Mask, Rows
from serving.sim.profiles import ALLREDUCE_SMALL_BYTES, Curve, GpuProfile
from serving.sim.roofline import (
    decode_attention_s,
    elementwise_s,
    gemm_s,
    interpolate,
    prefill_attention_s,
)

HEAD_SIZE = 128  # of every table that we can read
SOFT_LOSS_SCALES = (0.05, 0.02, 0.01, 0.005)  # relative errors beyond one count linearly
CONVERGED, STEPS_MAX = 1e-13, 2000
ROWS_MIN = 8  # fewer measurements do not determine four coefficients
DIGITS = 4
NOTHING = 1e-12  # a coefficient that the fit drove to zero
MIXED_DECODES = (8, 32, 64, 128)

Values = dict[str, Any]
Form = Callable[[GpuProfile, Columns], Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitError:
    """Errors of one kernel class: mean absolute relative error (and its 90th percentile)."""

    part: str
    rows: str  # filter
    num_rows: int
    mape: float  # of the coefficients in the file, over the rows of the filter
    p90: float
    all_rows_mape: float
    half_mape: float  # fitted on half of the shapes, seen rows
    held_out_mape: float  # the same coefficients, rows of the other shapes

    def as_row(self) -> Mapping[str, object]:
        """For `[[fit]]` and `--json`; ratios to four digits."""
        return {k: _rounded(v) if isinstance(v, float) else v for k, v in asdict(self).items()}


def fit_profile(
    tables: Mapping[str, Rows], base: GpuProfile
) -> tuple[GpuProfile, tuple[FitError, ...]]:
    """Profile fitted to `tables` (kernel class -> rows), and the error of each class.

    `base` gives hardware numbers, name and engine, starting points, and the coefficients of
    classes without a table, which the result lists in `assumed`.

    Raises:
        ConfigError: no table, or one with too few usable rows.
    """
    if not tables:
        raise ConfigError("no table was given, expected at least one; name the files to fit")
    values: Values = {}
    errors: list[FitError] = []
    for part in (*STARTS, "mixed"):
        rows = tables.get(part)
        if rows is None:
            continue
        usable = int(rows.is_used.sum())
        if min(usable, int((rows.is_used & ~rows.is_held_out).sum())) < ROWS_MIN:
            raise ConfigError(
                f"{part}: {usable} rows pass the filter ({FILTERS[part]}), expected at least "
                f"{2 * ROWS_MIN}; give a larger table"
            )
        fitted = _fit(part, rows, rows.is_used, base)
        half = _fit(part, rows, rows.is_used & ~rows.is_held_out, base)
        values |= fitted
        errors.append(_errors(part, rows, replace(base, **fitted), replace(base, **half)))
    assumed = tuple(part for part in (*STARTS, "mixed", "host") if part not in tables)
    return replace(base, **values, assumed=assumed, borrowed_from=""), tuple(errors)


def predicted_s(part: str, profile: GpuProfile, sizes: Columns) -> Array:
    """What `profile` says about rows of one kernel class, in seconds, shape [num_rows]."""
    return FORMS[part](profile, sizes)


def _fit(part: str, rows: Rows, chosen: Mask, base: GpuProfile) -> Values:
    sizes = {name: column[chosen] for name, column in rows.sizes.items()}
    if part == "mixed":
        return {"mixed_factors": _mixed_factors(sizes, rows.seconds[chosen])}
    measured_log, form = np.log(rows.seconds[chosen]), FORMS[part]
    starts = dict(STARTS[part])
    num_gpus = [int(n) for n in np.unique(sizes["num_gpus"])] if part == "allreduce" else []
    bus_start = np.full(len(num_gpus), base.allreduce_bytes_per_s[-1][1])

    def values_at(point: Array, *, digits: int) -> Values:
        numbers = [_rounded(float(v), digits) for v in np.exp(np.clip(point, -60, 60))]
        values: Values = dict(zip(starts, numbers, strict=False))
        if num_gpus:
            values["allreduce_bytes_per_s"] = tuple(
                zip(num_gpus, numbers[len(starts) :], strict=True)
            )
        return values

    def log_ratio(point: Array) -> Array:
        # All digits here: rounding would give the optimiser flat steps.
        profile = replace(base, **values_at(point, digits=17))
        with np.errstate(divide="ignore", over="ignore"):  # far from any answer
            ratio: Array = np.log(form(profile, sizes)) - measured_log
        return ratio

    def error(point: Array) -> Array:
        return np.expm1(log_ratio(point))

    point = np.log(np.concatenate([np.array(list(starts.values())), bus_start]))
    point = least_squares(log_ratio, point, loss="soft_l1", f_scale=SOFT_LOSS_SCALES[0]).x
    for scale in SOFT_LOSS_SCALES:
        point = least_squares(
            error, point, loss="soft_l1", f_scale=scale, x_scale="jac", jac="3-point",
            xtol=CONVERGED, ftol=CONVERGED, gtol=CONVERGED, max_nfev=STEPS_MAX,
        ).x  # fmt: skip
    return values_at(point, digits=DIGITS)


def _mixed_factors(sizes: Columns, seconds: Array) -> tuple[tuple[int, Curve], ...]:
    """Median of (mixed - prefill alone) / (decode alone), by query heads per KV head."""
    factors = (seconds - sizes["prefill_s"]) / sizes["decode_s"]
    heads, num = sizes["heads_per_kv_head"], sizes["num_decodes"]
    curves = []
    for group in np.unique(heads):
        points = [(0, 1.0)]
        for decodes in MIXED_DECODES:
            here = factors[(heads == group) & (num == decodes)]
            if len(here):
                points.append((decodes, max(0.01, _rounded(float(np.median(here))))))
        curves.append((int(group), tuple(points)))
    return tuple(curves)


def _errors(part: str, rows: Rows, fitted: GpuProfile, half: GpuProfile) -> FitError:
    used = rows.is_used
    measurable = rows.seconds > 0
    error = np.full(len(rows), np.nan)
    half_error = error.copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.abs(predicted_s(part, fitted, rows.sizes) / rows.seconds - 1)
        half_error = np.abs(predicted_s(part, half, rows.sizes) / rows.seconds - 1)
    return FitError(
        part=part,
        rows=FILTERS[part],
        num_rows=int(used.sum()),
        mape=float(error[used].mean()),
        p90=float(np.quantile(error[used], 0.9)),
        all_rows_mape=float(error[measurable].mean()),
        half_mape=float(half_error[used & ~rows.is_held_out].mean()),
        held_out_mape=float(half_error[used & rows.is_held_out].mean()),
    )


def _rounded(value: float, digits: int = DIGITS) -> float:
    return float(f"{value:.{digits}g}") if value > NOTHING else 0.0


# The forms, with the coefficients of a profile.


def _gemm(gpu: GpuProfile, sizes: Columns) -> Array:
    seconds: Array = gemm_s(
        **sizes,
        flops_per_s=gpu.gemm_flops_ratio * gpu.flops_per_s,
        bytes_per_s=gpu.gemm_bytes_ratio * gpu.bytes_per_s,
        overhead_s=gpu.gemm_overhead_s,
        fill_s=gpu.gemm_fill_s,
        power=gpu.gemm_power,
    )
    return seconds


def _decode(gpu: GpuProfile, sizes: Columns) -> Array:
    seconds: Array = decode_attention_s(
        **sizes,
        head_size=HEAD_SIZE,
        bytes_per_s=gpu.decode_bytes_ratio * gpu.bytes_per_s,
        overhead_s=gpu.decode_overhead_s,
        sequence_s=gpu.decode_sequence_s,
    )
    return seconds


def _prefill(gpu: GpuProfile, sizes: Columns) -> Array:
    seconds: Array = prefill_attention_s(
        **sizes,
        head_size=HEAD_SIZE,
        flops_per_s=gpu.prefill_flops_ratio * gpu.flops_per_s,
        half_tokens=gpu.prefill_half_tokens,
        overhead_s=gpu.prefill_overhead_s,
    )
    return seconds


def _elementwise(gpu: GpuProfile, sizes: Columns) -> Array:
    seconds: Array = elementwise_s(
        **sizes,
        overhead_s=gpu.elementwise_overhead_s,
        bytes_per_s=gpu.elementwise_bytes_ratio * gpu.bytes_per_s,
        power=gpu.elementwise_power,
    )
    return seconds


def _allreduce(gpu: GpuProfile, sizes: Columns) -> Array:
    num_bytes, num_gpus = sizes["num_bytes"], sizes["num_gpus"]
    is_small = num_bytes < ALLREDUCE_SMALL_BYTES
    bus = np.array([interpolate(gpu.allreduce_bytes_per_s, num) for num in num_gpus])
    bus = np.where(is_small, bus * gpu.allreduce_small_ratio, bus)
    latency = np.where(is_small, gpu.allreduce_small_s, gpu.allreduce_large_s)
    seconds: Array = latency + 2 * (num_gpus - 1) / num_gpus * num_bytes / bus
    return seconds


def _mixed(gpu: GpuProfile, sizes: Columns) -> Array:
    curves = dict(gpu.mixed_factors)
    factors = np.array(
        [
            interpolate(curves[int(heads)], num)
            for heads, num in zip(sizes["heads_per_kv_head"], sizes["num_decodes"], strict=True)
        ]
    )
    seconds: Array = sizes["prefill_s"] + factors * sizes["decode_s"]
    return seconds


FORMS: Mapping[str, Form] = {
    "gemm": _gemm,
    "decode": _decode,
    "prefill": _prefill,
    "elementwise": _elementwise,
    "allreduce": _allreduce,
    "mixed": _mixed,
}
STARTS: Mapping[str, Mapping[str, float]] = {
    "gemm": {
        "gemm_flops_ratio": 0.8,
        "gemm_bytes_ratio": 0.8,
        "gemm_overhead_s": 5e-6,
        "gemm_fill_s": 5e-6,
        "gemm_power": 2.0,
    },
    "decode": {
        "decode_bytes_ratio": 0.8,
        "decode_overhead_s": 12e-6,
        "decode_sequence_s": 0.2e-6,
    },
    "prefill": {
        "prefill_flops_ratio": 0.6,
        "prefill_half_tokens": 500.0,
        "prefill_overhead_s": 10e-6,
    },
    "elementwise": {
        "elementwise_overhead_s": 2e-6,
        "elementwise_bytes_ratio": 0.7,
        "elementwise_power": 1.5,
    },
    "allreduce": {
        "allreduce_small_s": 5e-6,
        "allreduce_small_ratio": 0.7,
        "allreduce_large_s": 40e-6,
    },
}
