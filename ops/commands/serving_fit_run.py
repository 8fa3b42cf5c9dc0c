"""What `midwatch serving fit-profile` does; parameters are declared in `ops.commands.serving`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import typer

from serving.errors import ConfigError, ServingError
from serving.sim.data_sheets import DATA_SHEETS, PCIE_4, DataSheet
from serving.sim.fit_profile import FitError
from serving.sim.fit_profile import fit_profile as fit
from serving.sim.profile_files import encode_profile, fit_base, parse_profile
from serving.sim.profile_tables import read_tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What the user says of the GPU; 0 = look it up."""

    gpu: str
    tflops: float
    memory_tb_per_s: float
    memory_gib: float

    def sheet(self) -> DataSheet:
        """The known data sheet with what the user overrides.

        Raises:
            ConfigError: the GPU is not known and not all three numbers are given.
        """
        given = (self.tflops * 1e12, self.memory_tb_per_s * 1e12, self.memory_gib)
        if min(given) < 0:
            raise ConfigError(
                f"--tflops, --memory-tb-per-s and --memory-gib are {given}; expected >= 0"
            )
        known = DATA_SHEETS.get(self.gpu)
        if known is None and 0 in given:
            raise ConfigError(
                f"GPU {self.gpu!r} has no data sheet here (known: {sorted(DATA_SHEETS)}); give "
                "--tflops, --memory-tb-per-s and --memory-gib"
            )
        if known is None:
            known = DataSheet(
                name=self.gpu, family="", flops_per_s=0.0, bytes_per_s=0.0, memory_gib=0.0,
                link_bytes_per_s=PCIE_4,
            )  # fmt: skip
        flops, memory, gib = given
        return replace(
            known,
            flops_per_s=flops or known.flops_per_s,
            bytes_per_s=memory or known.bytes_per_s,
            memory_gib=gib or known.memory_gib,
        )


def run_fit_profile(
    tables: Sequence[Path], *, hardware: Hardware, engine: str, out: Path | None, as_json: bool
) -> None:
    """Fit, write the file, print the errors."""
    target = out or Path(f"{hardware.gpu.lower()}_{engine}.toml")
    try:
        profile, errors = fit(read_tables(tables), fit_base(hardware.sheet(), engine=engine))
        text = encode_profile(profile, [error.as_row() for error in errors])
        parse_profile(text, source=str(target))  # what we write, we can read
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except ServingError as error:
        raise typer.BadParameter(str(error)) from error
    except OSError as error:
        raise typer.BadParameter(
            f"{target} cannot be written: {error}; choose another --out"
        ) from error
    if as_json:
        result = {
            "key": profile.key,
            "out": str(target),
            "assumed": profile.assumed,
            "fit": [error.as_row() for error in errors],
        }
        typer.echo(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())
        return
    typer.echo(f"{profile.key}: mean absolute error in %, beside the 90th percentile")
    for line in _table(errors):
        typer.echo(line)
    if profile.assumed:
        typer.echo(f"assumed, no table gives them: {', '.join(profile.assumed)}")
    typer.echo(f"wrote {target}; use it with midwatch serving simulate --gpu {target}")


def _table(errors: Sequence[FitError]) -> list[str]:
    head = f"{'class':<12}{'rows':>7}{'error':>7}{'p90':>7}{'all':>7}{'half':>7}{'held out':>10}"
    return [
        head + "  filter",
        *(
            f"{e.part:<12}{e.num_rows:>7}{100 * e.mape:>7.1f}{100 * e.p90:>7.1f}"
            f"{100 * e.all_rows_mape:>7.1f}{100 * e.half_mape:>7.1f}"
            f"{100 * e.held_out_mape:>10.1f}  {e.rows}"
            for e in errors
        ),
    ]
