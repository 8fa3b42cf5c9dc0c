"""`midwatch serving`: the serving simulator's own commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ops.commands import serving_workload
from ops.commands.serving_simulate import simulate

app = typer.Typer(help="Simulate LLM serving fleets; fit what the simulation rests on.")


@app.callback()
def group() -> None:
    """Keep the group a group while it has one command."""


@app.command("fit-profile")
def fit_profile(
    tables: Annotated[
        list[Path], typer.Argument(metavar="TABLE...", help="Measured times, CSV or CSV.gz.")
    ],
    gpu: Annotated[str, typer.Option(help="GPU of the tables, as A100 or RTX-4090.")],
    engine: Annotated[str, typer.Option(help="Engine and version, as vllm-0.14.0.")],
    tflops: Annotated[
        float, typer.Option(help="Dense bf16 TFLOP/s; 0 = the data sheet we know.")
    ] = 0.0,
    memory_tb_per_s: Annotated[
        float, typer.Option(help="Memory bandwidth; 0 = the data sheet we know.")
    ] = 0.0,
    memory_gib: Annotated[float, typer.Option(help="Memory; 0 = the data sheet we know.")] = 0.0,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write.", show_default="<gpu>_<engine>.toml"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Fit the cost model to measured kernel or layer times and write a coefficients file.

    Prints the error of each kernel class, with half of the shapes held out beside it. Classes
    without a table keep built-in values, and the file lists them as assumed.

    Example: `midwatch serving fit-profile gemm_a100.csv.gz attn_decode_a100.csv.gz --gpu A100
    --engine vllm-0.14.0 --out a100.toml`
    """
    from ops.commands.serving_fit_run import Hardware, run_fit_profile

    hardware = Hardware(
        gpu=gpu, tflops=tflops, memory_tb_per_s=memory_tb_per_s, memory_gib=memory_gib
    )
    run_fit_profile(tables, hardware=hardware, engine=engine, out=out, as_json=as_json)


app.command()(simulate)
app.add_typer(serving_workload.app, name="workload")
