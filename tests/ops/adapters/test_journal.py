"""The journal survives a crash and says the same thing for the same decisions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from ops.adapters.fakes import FakeWorld, MemoryJournal
from ops.adapters.journal import FileJournal, decision_to_dict, read_journal
from ops.errors import JournalError
from ops.state import Action, ActionKind, Decision, DecisionKind
from rca.state import Entity, EntityKind

DECISION = Decision(
    at_s=12.3456789,
    kind=DecisionKind.ACT,
    incident_id="inc-0001",
    reason="it is the cause",
    action=Action(
        action_id="inc-0001-a1",
        kind=ActionKind.SHIFT_TRAFFIC,
        target=Entity(EntityKind.WORKLOAD, "east"),
        params={"to_region": "west", "share": 0.1 + 0.2},
    ),
    details={"ratio": np.float32(0.5), "unknown": float("nan"), "names": frozenset({"b", "a"})},
)


def test_a_decision_becomes_plain_data():
    plain = decision_to_dict(DECISION)
    assert plain["at_s"] == 12.345679
    assert plain["kind"] == "act"
    assert plain["action"]["target"] == "workload:east"
    assert plain["action"]["params"] == {"to_region": "west", "share": 0.3}
    assert plain["details"] == {"ratio": 0.5, "unknown": None, "names": ["a", "b"]}
    assert plain["incident"] is None


def test_what_has_no_plain_form_is_refused():
    with pytest.raises(TypeError, match="object has no plain form"):
        decision_to_dict(replace(DECISION, details={"x": object()}))


def test_file_and_memory_hold_the_same_bytes(tmp_path):
    memory = MemoryJournal()
    with FileJournal(tmp_path / "j.jsonl") as journal:
        for at_s in range(5):
            journal.append(replace(DECISION, at_s=float(at_s)))
            memory.append(replace(DECISION, at_s=float(at_s)))
    assert (tmp_path / "j.jsonl").read_bytes() == memory.to_bytes()
    assert len(read_journal(tmp_path / "j.jsonl").entries) == 5


def test_details_in_another_order_give_the_same_line():
    one, two = MemoryJournal(), MemoryJournal()
    one.append(replace(DECISION, details={"a": 1, "b": 2}))
    two.append(replace(DECISION, details={"b": 2, "a": 1}))
    assert one.to_bytes() == two.to_bytes()


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_torn_last_line_is_dropped_and_reported(tmp_path, cut):
    path = tmp_path / "j.jsonl"
    with FileJournal(path) as journal:
        journal.append(DECISION)
        journal.append(DECISION)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    content = read_journal(path)
    assert len(content.entries) == 1
    assert content.torn == whole[len(whole) // 2 : -cut]


def test_writing_goes_on_after_a_crash(tmp_path):
    path = tmp_path / "j.jsonl"
    with FileJournal(path) as journal:
        journal.append(DECISION)
        journal.append(DECISION)
    path.write_bytes(path.read_bytes()[:-9])
    with FileJournal(path) as journal:
        journal.append(replace(DECISION, reason="after the crash"))
    content = read_journal(path)
    assert [e["reason"] for e in content.entries] == ["it is the cause", "after the crash"]
    assert content.torn == b""


def test_every_line_is_on_disk_before_append_returns(tmp_path):
    journal = FileJournal(tmp_path / "j.jsonl")
    journal.append(DECISION)
    assert orjson.loads((tmp_path / "j.jsonl").read_bytes())["kind"] == "act"
    journal.close()


def test_a_broken_line_in_the_middle_is_an_error(tmp_path):
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"a":1}\nnonsense\n{"a":2}\n')
    with pytest.raises(JournalError, match=r"j.jsonl:2: .*nonsense"):
        read_journal(path)
    with pytest.raises(JournalError, match=r"j\.jsonl:2"):
        FileJournal(path)


def test_a_missing_journal_names_its_path(tmp_path):
    with pytest.raises(JournalError, match=r"nowhere\.jsonl cannot be read"):
        read_journal(tmp_path / "nowhere.jsonl")
    with pytest.raises(JournalError, match="cannot be opened"):
        FileJournal(tmp_path / "no" / "folder.jsonl")


def test_a_full_disk_is_an_error_of_our_own(tmp_path):
    class FullDisk:
        def write(self, line):
            return len(line) - 3

    journal = FileJournal(tmp_path / "j.jsonl")
    journal.close()
    journal._file = FullDisk()
    with pytest.raises(JournalError, match="cannot be written: only"):
        journal.append(DECISION)


def test_only_a_regular_file_can_be_a_journal(tmp_path):
    for path in (tmp_path, Path("/dev/zero")):
        with pytest.raises(JournalError, match="is no regular file"):
            FileJournal(path)
        with pytest.raises(JournalError, match="is no regular file"):
            read_journal(path)


def test_the_fake_world_shows_and_keeps(fleet):
    snapshots = [fleet.advance(), fleet.advance()]
    world = FakeWorld(snapshots)
    assert [world.snapshot().now_s for _ in range(3)] == [5.0, 10.0, 10.0]
    assert world.apply(DECISION.action) == ""
    assert world.applied == [DECISION.action]
