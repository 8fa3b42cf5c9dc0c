"""Body of `midwatch chaos serve`: warm up, write history, serve until interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import typer
from rich.console import Console

from ops.commands import extras
from ops.commands.chaos_options import parse_kinds
from ops.commands.options import OURS, find_scenario
from ops.replay.adopt import AdoptedPod, adopted_pods, unshown
from ops.replay.experiment import make_plan
from ops.replay.live import NOT_SHOWN, LiveServer
from ops.replay.live_fleet import LiveFleet, LivePlan, make_fleet
from ops.replay.scenario import FaultSpec
from ops.replay.scenario_limits import RANGES

if TYPE_CHECKING:
    from ops.commands.chaos_files import TryOut


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What the user typed."""

    scenario: str
    listen: str
    admin: str
    rate_rps: float | None
    seed: int
    warm_s: float
    lasts_s: float
    history: Path | None
    try_out: Path | None
    namespace: str
    pods: Path | None
    fault: str
    fault_at_s: float
    fault_length_s: float
    fault_severity: float
    as_json: bool


def run_serve(asked: Serving) -> None:
    """Serve until interrupted. Exit code 2 on wrong use."""
    console = Console(stderr=True)
    if asked.try_out is not None:
        extras.need("--try-out", extras.SLO)
    try:
        addresses = _addresses(asked)
        _check_fault(asked)
        plan = _plan(asked)
        live = LiveFleet(plan)
        server = _bound(asked, live, addresses)  # before the wait: a port may be taken
        console.print(f"simulating {plan.warm_s:.0f} s of past at {plan.rate_rps:.3g} requests/s")
        live.begin()
        files = _try_out(asked, live, server)
        for path in _pasts(asked):
            with path.open("w", encoding="utf-8") as file:
                file.writelines(live.history())
    except OURS as error:
        raise typer.BadParameter(str(error)) from error
    except OSError as error:
        raise typer.BadParameter(f"{error}; choose another place") from error
    server.start()
    _tell(asked, plan, live, server)
    if files is not None and not asked.as_json:
        typer.echo("start these, each in a terminal of its own:")
        for command in files.commands():
            typer.echo(f"  {command}")
        typer.echo("no fault that replaces pods, e.g. a roll-out: the cluster keeps the old ones")
    try:
        server.wait(asked.fault_at_s if asked.fault else plan.lasts_s)
        if asked.fault:
            started = live.start_fault(
                FaultSpec(
                    kind=asked.fault, start_s=0.0, length_s=asked.fault_length_s,
                    severity=asked.fault_severity,
                )
            )  # fmt: skip
            console.print(f"fault {asked.fault} begins: {started.truth.entity}")
            if unshown(live.fleet, plan.pods):
                console.print(f"warning: {NOT_SHOWN}")
            server.wait(plan.lasts_s - asked.fault_at_s)
        console.print(f"{plan.lasts_s:.0f} s are over: no user comes any more")
    except OURS as error:
        raise typer.BadParameter(str(error)) from error
    except KeyboardInterrupt:
        console.print("stopped")
    finally:
        server.close()


def _addresses(asked: Serving) -> tuple[tuple[str, int], tuple[str, int] | None]:
    listen = _address(asked.listen, "--listen")
    return listen, _address(asked.admin, "--admin") if asked.admin else None


def _bound(
    asked: Serving, live: LiveFleet, addresses: tuple[tuple[str, int], tuple[str, int] | None]
) -> LiveServer:
    """The server, which does not answer yet."""
    listen, admin = addresses
    try:
        return LiveServer({live.plan.namespace: live}, listen=listen, admin=admin)
    except OSError as error:
        raise typer.BadParameter(
            f"--listen {asked.listen}, --admin {asked.admin}: {error.strerror}; choose free ports"
        ) from error


def _try_out(asked: Serving, live: LiveFleet, server: LiveServer) -> TryOut | None:
    """The files, written; None where nobody wants them."""
    if asked.try_out is None:
        return None
    # It needs PyYAML, which serving alone does not.
    from ops.commands.chaos_files import TryOut

    made = TryOut(
        folder=asked.try_out, scenario=live.plan.scenario, fleet=live.fleet,
        namespace=live.plan.namespace, scrape_configs=server.scrape_configs(),
    )  # fmt: skip
    made.write()
    return made


def _pasts(asked: Serving) -> list[Path]:
    """Where the warm-up is written to."""
    given = [asked.history] if asked.history is not None else []
    return given + ([asked.try_out / "past.om"] if asked.try_out is not None else [])


def _plan(asked: Serving) -> LivePlan:
    base = replace(find_scenario(asked.scenario), faults=(), changes=())
    low, high = RANGES["Scenario.duration_s"]
    if not low <= asked.warm_s + asked.lasts_s <= high or asked.warm_s < 0.0:
        raise typer.BadParameter(
            f"--warm-up-s {asked.warm_s:g} and --lasts-s {asked.lasts_s:g}: "
            f"give {low:g} to {high:g} s together"
        )
    if asked.rate_rps is not None and not asked.rate_rps > 0.0:
        raise typer.BadParameter(f"--rate {asked.rate_rps:g}: give more than 0 requests/s")
    rate_rps = asked.rate_rps or make_plan(base, seed=asked.seed).rate_rps
    plan = LivePlan(
        scenario=base, seed=asked.seed, rate_rps=rate_rps, warm_s=asked.warm_s,
        lasts_s=asked.lasts_s, namespace=asked.namespace, pods=_pods(asked),
    )  # fmt: skip
    if asked.try_out is not None and not plan.pods:
        from ops.commands.chaos_files import named_pods

        # No autoscaler may add pods that the cluster does not show.
        plan = replace(plan, pods=named_pods(make_fleet(plan)))
    return plan


def _pods(asked: Serving) -> tuple[AdoptedPod, ...]:
    if asked.pods is None:
        return ()
    try:
        items = orjson.loads(asked.pods.read_bytes())["items"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise typer.BadParameter(
            f"--pods {asked.pods}: {error!r}; give what kubectl get pods,nodes -A -o json prints"
        ) from error
    return adopted_pods(items, namespace=asked.namespace)


def _check_fault(asked: Serving) -> None:
    if asked.fault:
        parse_kinds(asked.fault)
        if not asked.fault_severity > 0.0 or not asked.fault_length_s > 0.0:
            raise typer.BadParameter(
                f"--fault-severity {asked.fault_severity:g}, --fault-length-s "
                f"{asked.fault_length_s:g}: give more than 0"
            )


def _address(text: str, option: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise typer.BadParameter(f"{option} {text!r}: expected HOST:PORT, as 127.0.0.1:9400")
    return host, int(port)


def _tell(asked: Serving, plan: LivePlan, live: LiveFleet, server: LiveServer) -> None:
    figures: Mapping[str, Any] = {
        "metrics": server.url, "admin": server.admin_url, "namespace": plan.namespace,
        "seed": plan.seed, "rate_rps": plan.rate_rps, "epoch_s": live.epoch_s,
        "history": str(asked.history or ""), "try_out": str(asked.try_out or ""),
    }  # fmt: skip
    if asked.as_json:
        typer.echo(orjson.dumps(figures).decode())
        return
    typer.echo(f"seed {plan.seed}, {plan.rate_rps:.3g} requests/s")
    typer.echo(f"scrape_configs for prometheus.yml: {server.url}/scrape-configs")
    if server.admin_url:
        typer.echo(
            f'faults: curl -d \'{{"kind": "cpu-hog"}}\' {server.admin_url}/fault; '
            f"end: curl -d '{{\"fault\": 0}}' {server.admin_url}/heal"
        )
