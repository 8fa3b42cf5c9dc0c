"""`midwatch operator slo`: OpenSLO files into a Fleet, burn-rate rules out of either."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from ops.commands import extras

if TYPE_CHECKING:
    from ops.burn_rules import FleetName
    from ops.openslo import SloClass

app = typer.Typer(
    help="Service level objectives: read OpenSLO files, make Prometheus rules of them.",
    no_args_is_help=True,
)
_FILE = Annotated[Path, typer.Argument(help="OpenSLO v1 file, YAML, any number of documents.")]


@app.command("import")
def import_(
    file: _FILE,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of YAML.")] = False,
) -> None:
    """Print the `slos` of a Fleet that mean the same as an OpenSLO file.

    SLOs of one class of requests (time to first token, time per output token, errors) become one
    entry. What is merged or counted otherwise is said on stderr.

    Example: `midwatch operator slo import checkout.openslo.yaml`

    Example: `midwatch operator slo import slos.yaml --json | jq .slos`
    """
    extras.need("midwatch operator slo", extras.SLO)
    slos = {"slos": [_fleet_entry(one) for one in _openslo(_documents(file), file)]}
    typer.echo(orjson.dumps(slos).decode() if as_json else _yaml([slos]), nl=as_json)


@app.command()
def rules(
    file: Annotated[Path, typer.Argument(help="Fleet objects or an OpenSLO file, YAML.")],
    prometheus_rule: Annotated[
        bool,
        typer.Option("--prometheus-rule", help="PrometheusRule objects, for its operator."),
    ] = False,
    namespace: Annotated[
        str, typer.Option(help="Namespace of the Fleet, where the file does not say.")
    ] = "default",
    fleet: Annotated[
        str, typer.Option(help="Name of the Fleet that an OpenSLO file is for.")
    ] = "fleet",
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Stored name of a metric that is live, e.g. http_requests_total; repeat. "
            "Without any, every name of the catalogue is looked for."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of YAML.")] = False,
) -> None:
    """Print recording and burn-rate alerting rules: two windows each, per region and class.

    Factors follow the SLO's window: for 30 days 14.4 over 1h and 6 over 6h page, 3 over 1d and 1
    over 3d write a ticket. Alerts carry namespace, fleet, region and slo_class, so that the
    operator's webhook finds the Fleet. Check with `promtool check rules`.

    Example: `midwatch operator slo rules fleet.yaml > rules.yml && promtool check rules rules.yml`

    Example: `kubectl get fleet chat -n shop -o yaml | midwatch operator slo rules /dev/stdin
    --prometheus-rule | kubectl apply -f -`

    Example: `midwatch operator slo rules slos.yaml --namespace shop --fleet chat --metric
    http_requests_total`
    """
    extras.need("midwatch operator slo", extras.SLO)
    from ops.burn_rules import FleetName, rule_file, rule_object
    from ops.catalogue import Catalogue
    from ops.commands.options import OURS

    catalogue, names = Catalogue.load(), tuple(metric or ())
    try:
        fleets = _fleets(file, FleetName(namespace=namespace, name=fleet))
        make = rule_object if prometheus_rule else rule_file
        made = [make(classes, catalogue, name, names=names) for name, classes in fleets]
    except OURS as error:
        raise typer.BadParameter(f"{file}: {error}") from error
    if not prometheus_rule:
        made = [{"groups": [group for one in made for group in one["groups"]]}]
    typer.echo(
        "\n".join(orjson.dumps(one).decode() for one in made) if as_json else _yaml(made),
        nl=as_json,
    )


def _fleets(file: Path, named: FleetName) -> list[tuple[FleetName, list[SloClass]]]:
    """Fleets of a file with their classes; of an OpenSLO file the one that was named.

    Raises:
        OpsError: what does not fit.
    """
    from ops.burn_rules import FleetName
    from ops.controller.resources.fields import API_VERSION
    from ops.controller.resources.fleet import parse_fleet

    documents = _documents(file)
    items = [
        one
        for document in documents
        if isinstance(document, dict)
        for one in (document.get("items") or [document])
    ]
    found = []
    for one in items:
        if not isinstance(one, dict) or one.get("kind") != "Fleet":
            continue
        if one.get("apiVersion") != API_VERSION:
            raise typer.BadParameter(
                f"{file}: apiVersion is {one.get('apiVersion')!r}, expected {API_VERSION}"
            )
        meta = one.get("metadata") or {}
        name = FleetName(
            namespace=str(meta.get("namespace") or named.namespace),
            name=str(meta.get("name") or named.name),
        )
        classes = [_class_of(slo) for slo in parse_fleet(one).slos]
        if not classes:
            raise typer.BadParameter(f"{file}: Fleet {name.name} has no spec.slos; add one")
        found.append((name, classes))
    return found or [(named, _openslo(documents, file))]


def _openslo(documents: list[Any], file: Path) -> list[SloClass]:
    from ops.catalogue import Catalogue
    from ops.commands.options import OURS
    from ops.openslo import read_openslo

    try:
        read = read_openslo(documents, Catalogue.load(), source=file.name)
    except OURS as error:
        raise typer.BadParameter(str(error)) from error
    for note in read.notes:
        typer.echo(f"note: {note}", err=True)
    return list(read.classes)


def _documents(file: Path) -> list[Any]:
    import yaml

    try:
        return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} cannot be read: {error}; check the path") from error
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())
        raise typer.BadParameter(f"{file} is no YAML: {told}; mend the file") from error


def _class_of(slo: Any) -> SloClass:
    from ops.openslo import SloClass
    from ops.openslo.values import duration_s

    return SloClass(
        name=slo.name,
        target_ratio=slo.target,
        ttft_s=None if slo.ttft_seconds >= _NO_TTFT_S else slo.ttft_seconds,
        tpot_s=None if slo.tpot_seconds >= _NO_TPOT_S else slo.tpot_seconds,
        window_s=duration_s(slo.window),
    )


_NO_TTFT_S, _NO_TPOT_S = 3600.0, 60.0  # the largest that a Fleet takes: no limit


def _fleet_entry(slo: SloClass) -> dict[str, Any]:
    from ops.openslo.values import duration_text

    window = duration_text(slo.window_s)
    return {
        "name": slo.name,
        "target": slo.target_ratio,
        "ttftSeconds": _NO_TTFT_S if slo.ttft_s is None else slo.ttft_s,
        "tpotSeconds": _NO_TPOT_S if slo.tpot_s is None else slo.tpot_s,
        "window": window if window[-1] in "hdw" else f"{max(1, slo.window_s // 3600)}h",
    }


def _yaml(documents: list[Any]) -> str:
    from ops.controller.made.rule_text import rule_text

    return rule_text(documents)
