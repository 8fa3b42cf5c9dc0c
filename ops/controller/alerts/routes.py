"""Which fleet an alert belongs to, and the way there.

Label `namespace` chooses the Fleet's namespace, the optional label `fleet` its name. An alert
without a fleet is answered as taken: Alertmanager would else repeat it for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from ops.controller.alerts.inbox import AlertInbox, Receipt
from ops.state import Alert

logger = logging.getLogger(__name__)
NAMESPACE_LABEL, FLEET_LABEL = "namespace", "fleet"
NAMES_MAX = 256  # of namespaces that were named in the log

Find = Callable[[str, str], Sequence[AlertInbox]]


class AlertRoutes:
    """Hands the alerts of one notification to the inboxes of their fleets."""

    def __init__(self, find: Find) -> None:
        """Route by `find`.

        Args:
            find: (namespace, fleet name or "") -> inboxes of the fleets meant; none = no such
                fleet. It raises OverloadedError while the fleets are not known yet.
        """
        self._find = find
        self._named: set[tuple[str, str]] = set()

    async def accept(self, alerts: tuple[Alert, ...]) -> Receipt:
        """Return once every alert is written by each fleet that it belongs to.

        Raises:
            OpsError: at least one fleet could not write its part; those of the others are.
        """
        parts: dict[AlertInbox, list[Alert]] = {}
        unrouted = 0
        for alert in alerts:
            place = (alert.labels.get(NAMESPACE_LABEL, ""), alert.labels.get(FLEET_LABEL, ""))
            inboxes = self._find(*place)
            for inbox in inboxes:
                parts.setdefault(inbox, []).append(alert)
            if not inboxes:
                unrouted += 1
                self._tell(*place, alert)
        answers = await asyncio.gather(
            *(inbox.put(part) for inbox, part in parts.items()), return_exceptions=True
        )
        total = Receipt(unrouted=unrouted)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            total += answer
        return total

    def _tell(self, namespace: str, fleet: str, alert: Alert) -> None:
        """One line for each place, so that a storm does not fill the log."""
        place = (namespace, fleet)
        if place in self._named or len(self._named) >= NAMES_MAX:
            return
        self._named.add(place)
        logger.warning(
            "alert without a fleet namespace=%r fleet=%r alertname=%r: counted, not handled; "
            "create a Fleet there, or give the rule the label namespace",
            namespace,
            fleet,
            alert.labels.get("alertname", ""),
        )
