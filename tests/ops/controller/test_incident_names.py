"""Names of Incidents."""

from __future__ import annotations

import re
from dataclasses import replace

from ops.controller.incidents.names import incident_name
from rca.state import Symptom

SYMPTOM = Symptom(
    region="north", slo_class="chat", began_at_s=1_780_000_000.4, detected_at_s=1_780_000_021.0,
    bad_ratio=0.3, reason="latency",
)  # fmt: skip


def test_a_name_tells_fleet_and_time_and_is_a_name_of_kubernetes():
    name = incident_name("chat", SYMPTOM, fleet_uid="u1")
    assert re.fullmatch(r"chat-20260528-202640-[0-9a-f]{5}", name)
    assert incident_name("chat", SYMPTOM, fleet_uid="u1") == name


def test_incidents_of_one_second_differ_by_their_place():
    assert incident_name("chat", SYMPTOM, fleet_uid="u1") != incident_name(
        "chat", replace(SYMPTOM, region="b"), fleet_uid="u1"
    )


def test_a_long_fleet_leaves_room_for_the_time():
    name = incident_name("a" * 253, SYMPTOM, fleet_uid="u1")
    assert len(name) == 253
    assert name.endswith(incident_name("a", SYMPTOM, fleet_uid="u1")[1:])


def test_a_fleet_that_was_made_anew_shares_no_name_with_the_deleted_one():
    first, second = (incident_name("chat", SYMPTOM, fleet_uid=uid) for uid in ("u1", "u2"))
    assert first[:-5] == second[:-5]
    assert first != second
