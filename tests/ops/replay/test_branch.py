"""A fork goes on alone: answers come back, failures too, the parent stays as it was."""

from __future__ import annotations

import os

import pytest

from ops.errors import WorldError
from ops.replay.branch import in_fork


def test_a_fork_answers_and_changes_nothing_here():
    things = [1]

    def future():
        things.append(2)
        return {"things": things}

    assert in_fork("one", future) == {"things": [1, 2]}
    assert things == [1]


def test_a_failure_in_a_fork_is_raised_here_with_its_place():
    def future():
        raise ValueError("queue 7 is negative")

    with pytest.raises(WorldError, match=r"world 'two' failed(.|\n)*in future(.|\n)*queue 7"):
        in_fork("two", future)


def test_a_fork_that_dies_is_an_error_that_names_its_exit_code():
    with pytest.raises(WorldError, match=r"'three' ended with exit code 3 .*fewer jobs"):
        in_fork("three", lambda: os._exit(3))
