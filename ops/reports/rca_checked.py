"""What a ranking looked at and on how much data, what it left out and why."""

from __future__ import annotations

from ops.reports import rca_words, words
from ops.reports.rca_model import Checked
from ops.reports.rca_record import Record
from rca.incident import Incident
from rca.localisation import Localisation


def checked(
    found: Localisation, incident: Incident, record: Record, num_calls: int
) -> tuple[Checked, ...]:
    """Channels that were used with what they read, then those that were not with the reason."""
    rows = []
    for channel in found.used:
        data = _data(channel, incident, record)
        text = rca_words.channel_text(channel)
        rows.append(Checked(channel=channel, used=True, text=f"{text}: {data}" if data else text))
    topology = f"{words.count(num_calls, 'call')} between services are known"
    if num_calls:
        text = f"{rca_words.channel_text('topology')}; {topology}"
        rows.append(Checked(channel="topology", used=True, text=text))
    else:
        text = "no calls between services are known"
        rows.append(Checked(channel="topology", used=False, text=text))
    granger = found.granger
    model = f"{granger.used}, {words.count(granger.num_series, 'series', 'series')}"
    text = f"{model} ({granger.why}); orders metrics and draws arrows, never services"
    rows.append(
        Checked(
            channel="granger", used=bool(granger.used), text=text if granger.used else granger.why
        )
    )
    for channel, why in sorted(found.skipped.items()):
        if channel != "granger":
            rows.append(Checked(channel=channel, used=False, text=why))
    return tuple(sorted(rows, key=lambda row: not row.used))


def _data(channel: str, incident: Incident, record: Record) -> str:
    match rca_words.channel_needs(channel):
        case "spans":
            here = len(incident.spans) if incident.spans is not None else 0
            return f"{here:,} spans, {sum(map(len, incident.normal_spans)):,} fault-free"
        case "log lines":
            here = len(incident.logs) if incident.logs is not None else 0
            return f"{here:,} lines, {sum(map(len, incident.normal_logs)):,} fault-free"
    if channel == "metric":
        columns = sum(not column.is_symptom for column in incident.columns)
        return (
            f"{words.count(columns, 'column')}, {int(record.normal.sum()):,} normal rows, "
            f"{int(record.fault.sum()):,} since the onset"
        )
    if channel == "change":
        return words.count(len(incident.changes), "announced change")
    return ""
