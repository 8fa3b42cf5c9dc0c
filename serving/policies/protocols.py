"""What a policy may see of an instance, and the Protocols of the policies themselves.

Views are live and read-only; none of them tells how many tokens a request will produce.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from serving.state import BatchPlan, Phase, Prefix


class SequenceView(Protocol):
    """One sequence as a policy sees it."""

    @property
    def seq_id(self) -> int:
        """Its id, ascending in order of arrival at the instance."""
        ...

    @property
    def phase(self) -> Phase:
        """Where it stands."""
        ...

    @property
    def num_prefill_tokens(self) -> int:
        """Tokens to prefill in total: prompt plus what a recompute must repeat."""
        ...

    @property
    def num_prefill_left(self) -> int:
        """Tokens still to prefill."""
        ...


class InstanceView(Protocol):
    """One instance as a batch policy sees it."""

    @property
    def block_tokens(self) -> int:
        """Tokens per KV block."""
        ...

    @property
    def sequences_max(self) -> int:
        """Most sequences in the running list."""
        ...

    @property
    def num_running(self) -> int:
        """Sequences in the running list, prefilling and decoding."""
        ...

    @property
    def num_decoding(self) -> int:
        """Sequences in decode."""
        ...

    @property
    def num_free_blocks(self) -> int:
        """KV blocks free now; negative while a leak overlaps blocks in use."""
        ...

    @property
    def num_decode_blocks_needed(self) -> int:
        """New KV blocks that one token for every decoding sequence takes now."""
        ...

    @property
    def waiting(self) -> Collection[SequenceView]:
        """Waiting sequences, first in line first."""
        ...

    @property
    def prefilling(self) -> Collection[SequenceView]:
        """Partly prefilled running sequences, in order of admission."""
        ...

    def newest_first(self) -> Iterable[SequenceView]:
        """Running sequences, last admitted first."""
        ...

    def num_start_blocks(self, sequence: SequenceView) -> int:
        """Free KV blocks that a waiting sequence must find to start.

        One token more than its prompt, so that its first output has room. With a prefix cache
        this looks its prompt up: blocks that others hold need not be found, and from then on
        `num_prefill_left` leaves out what is cached.
        """
        ...

    def num_freed_blocks(self, sequence: SequenceView) -> int:
        """KV blocks that become free if a running sequence leaves: those that it alone holds."""
        ...

    def needs_block(self, sequence: SequenceView) -> bool:
        """Whether its next decode token takes a new block."""
        ...


class BatchPolicy(Protocol):
    """Chooses what one instance runs next. Must not change `view`."""

    def plan(self, view: InstanceView, *, now_s: float) -> BatchPlan:
        """Plan of the next iteration; empty when nothing can run."""
        ...


class LoadView(Protocol):
    """One instance as a dispatch policy sees it."""

    @property
    def instance_id(self) -> str:
        """Its name; breaks ties."""
        ...

    @property
    def load(self) -> int:
        """Outstanding requests."""
        ...


class PromptView(Protocol):
    """One request as a dispatch policy sees it."""

    @property
    def num_prompt_tokens(self) -> int:
        """Length of its prompt."""
        ...

    @property
    def prefix(self) -> Prefix | None:
        """What its prompt begins with; None when unknown."""
        ...


class DispatchPolicy(Protocol):
    """Chooses the instance of one request; may keep its own state (a cursor, what it sent)."""

    def choose(self, instances: Sequence[LoadView], prompt: PromptView | None = None) -> LoadView:
        """One of `instances`, which are not empty and all accept requests."""
        ...
