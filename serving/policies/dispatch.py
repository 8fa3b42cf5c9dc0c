"""Baselines of dispatch: round robin and least outstanding requests."""

from __future__ import annotations

from collections.abc import Sequence

from serving.policies.protocols import LoadView


class RoundRobin:
    """Takes instances in turn, in order of their ids; a change of the set keeps the turn."""

    __slots__ = ("_last_id",)

    def __init__(self) -> None:
        self._last_id = ""

    def choose(self, instances: Sequence[LoadView]) -> LoadView:
        """The instance with the next larger id than the last one chosen, else the smallest."""
        smallest = following = None
        for instance in instances:
            instance_id = instance.instance_id
            if smallest is None or instance_id < smallest.instance_id:
                smallest = instance
            if instance_id > self._last_id and (
                following is None or instance_id < following.instance_id
            ):
                following = instance
        chosen = following or smallest
        assert chosen is not None, "dispatch needs at least one instance"
        self._last_id = chosen.instance_id
        return chosen


class LeastLoaded:
    """Takes the instance with the fewest outstanding requests; ties go to the smaller id."""

    __slots__ = ()

    def choose(self, instances: Sequence[LoadView]) -> LoadView:
        """The least loaded instance."""
        return min(instances, key=lambda instance: (instance.load, instance.instance_id))
