"""Short names of alerts: stable, small, and one alert one name."""

from __future__ import annotations

from ops.alerts import DIGEST_CHARS, alert_digest
from ops.controller.alerts.digests import DIGESTS_MAX, add_digests, split_digests
from ops.controller.resources.fields import parse
from ops.controller.resources.incident import IncidentStatus
from ops.state import Alert


def alert(n=0, **more):
    return Alert(
        **{"group_key": "g", "fingerprint": f"f{n}", "starts_at_s": 1.5, "firing": True} | more
    )


def test_the_digest_is_the_same_in_every_process_and_for_the_end_of_an_alert():
    assert alert_digest(alert()) == "RhOVxGp3"
    assert alert_digest(alert(firing=False, labels={"a": "b"})) == alert_digest(alert())


def test_group_fingerprint_and_start_tell_alerts_apart():
    same = [alert(), alert(group_key="h"), alert(fingerprint="f"), alert(starts_at_s=2.0)]
    assert len({alert_digest(a) for a in same}) == 4


def test_parts_of_a_key_do_not_run_into_each_other():
    one, two = alert(group_key="ab", fingerprint="c"), alert(group_key="a", fingerprint="bc")
    assert alert_digest(one) != alert_digest(two)


def test_digests_are_kept_once_and_the_newest_stay():
    text = add_digests("", [alert(1), alert(2), alert(1)])
    assert split_digests(text) == (alert_digest(alert(1)), alert_digest(alert(2)))
    text = add_digests(text, [alert(n) for n in range(3, DIGESTS_MAX + 3)])
    kept = split_digests(text)
    assert len(kept) == DIGESTS_MAX
    assert alert_digest(alert(2)) not in kept
    assert kept[-1] == alert_digest(alert(DIGESTS_MAX + 2))
    assert parse(IncidentStatus, {"alertDigests": text}, path="status").alert_digests == text


def test_a_torn_digest_is_left_out():
    assert split_digests("x" * (DIGEST_CHARS + 3)) == ("x" * DIGEST_CHARS,)
