"""Dispatch: round robin, least outstanding requests, and to where the prompt's beginning is."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from serving.errors import ConfigError
from serving.kvcache import chain_keys
from serving.policies.protocols import LoadView, PromptView


class RoundRobin:
    """Takes instances in turn, in order of their ids; a change of the set keeps the turn."""

    __slots__ = ("_last_id",)

    def __init__(self) -> None:
        self._last_id = ""

    def choose(
        self,
        instances: Sequence[LoadView],
        prompt: PromptView | None = None,  # noqa: ARG002 - Protocol
    ) -> LoadView:
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

    def choose(
        self,
        instances: Sequence[LoadView],
        prompt: PromptView | None = None,  # noqa: ARG002 - Protocol
    ) -> LoadView:
        """The least loaded instance."""
        return min(instances, key=lambda instance: (instance.load, instance.instance_id))


class PrefixAware:
    """Takes the instance that saves the most prefill for the load that it has.

    An instance is worth the prompt tokens it was sent before, in mean prompts, less its load above
    the mean, in means: one mean prompt found makes up for twice the mean load. Ties go to the less
    loaded, then to the smaller id. Only instances that the request leaves with at most `load_ratio`
    times the mean number of outstanding requests (rounded up) are considered: no beginning,
    however popular, makes a hot spot. A beginning that all prompts share is worth next to nothing.

    What an instance holds is guessed from what it was sent: the ids of its last `tokens_max`
    prompt tokens, least recently used out. Nothing is asked of the engines.

    Source: the score is that of load-aware routing in the vLLM production stack, the limit that of
    consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, SODA 2018), the index
    of what was sent that of SGLang's cache-aware router.
    Differs: found tokens count in mean prompts, not as a share of their own prompt, so that a long
    beginning is worth more than a short one; no hashing, no tree.
    """

    __slots__ = ("_load_ratio", "_num_prompts", "_num_tokens", "_sent", "_tokens_max")

    def __init__(self, *, tokens_max: int = 1_000_000, load_ratio: float = 2.0) -> None:
        if tokens_max < 1 or not load_ratio >= 1.0:
            raise ConfigError(
                f"tokens_max is {tokens_max} and load_ratio {load_ratio}, expected at least 1 each"
            )
        self._tokens_max = tokens_max
        self._load_ratio = load_ratio
        self._sent: dict[str, OrderedDict[int, None]] = {}  # by instance: keys, oldest first
        self._num_prompts = 0  # seen so far, and their tokens
        self._num_tokens = 0

    def choose(self, instances: Sequence[LoadView], prompt: PromptView | None = None) -> LoadView:
        """The instance with the best score among those that are not too loaded."""
        loads = [instance.load for instance in instances]
        load_max = -(-(sum(loads) + 1) * self._load_ratio // len(loads))
        allowed = [i for i, load in zip(instances, loads, strict=True) if load + 1 <= load_max]
        prefix = prompt.prefix if prompt is not None else None
        if prompt is None or prefix is None or not prefix.ids:
            return min(allowed, key=lambda i: (i.load, i.instance_id))
        if len(self._sent) > len(instances):  # somebody left: forget what it had
            known = {instance.instance_id for instance in instances}
            self._sent = {name: sent for name, sent in self._sent.items() if name in known}
        self._num_prompts += 1
        self._num_tokens += prompt.num_prompt_tokens
        keys = chain_keys(prefix.ids, start=prefix.block_tokens)
        block_worth = prefix.block_tokens * self._num_prompts / self._num_tokens
        load_cost = 1.0 / max(1.0, sum(loads) / len(loads))
        chosen = min(
            allowed,
            key=lambda i: (
                i.load * load_cost - self._num_sent(i, keys) * block_worth,
                i.load,
                i.instance_id,
            ),
        )
        self._note(chosen.instance_id, keys, self._tokens_max // prefix.block_tokens)
        return chosen

    def _num_sent(self, instance: LoadView, keys: list[int]) -> int:
        """Leading keys that the instance was sent and may still hold."""
        sent = self._sent.get(instance.instance_id, ())
        return next((num for num, key in enumerate(keys) if key not in sent), len(keys))

    def _note(self, instance_id: str, keys: list[int], num_max: int) -> None:
        sent = self._sent.setdefault(instance_id, OrderedDict())
        for key in reversed(keys):  # the end of a prompt is forgotten before its beginning
            sent[key] = None
            sent.move_to_end(key)
        while len(sent) > num_max:
            sent.popitem(last=False)
