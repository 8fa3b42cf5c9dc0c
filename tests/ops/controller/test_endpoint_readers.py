"""An endpoint that does not answer is asked by one, not waited for by all."""

from __future__ import annotations

import pytest

from ops.controller.metrics_watch.endpoint_readers import (
    FAILURES_MAX,
    REST_S,
    Breaker,
    SparedError,
)
from ops.errors import PrometheusError, TooLateError, TooMuchError


class World:
    def __init__(self):
        self.now_s, self.asked, self.error = 0.0, 0, PrometheusError("timed out")
        self.spared = False  # the last one was told at once
        self.breaker = Breaker(clock=lambda: self.now_s)

    def ask(self):
        self.asked += 1
        if self.error:
            raise self.error
        return "answer"

    def __call__(self, times=1):
        for _ in range(times):
            try:
                last = self.breaker.call(self.ask)
                self.spared = False
            except PrometheusError as error:
                last, self.spared = str(error), isinstance(error, SparedError)
        return last


def test_after_some_failures_the_others_are_told_at_once():
    world = World()
    assert world(200) == "timed out"  # in the words of those who were not answered, once
    assert world.spared
    assert world.asked == FAILURES_MAX


def test_then_one_asks_while_the_others_wait_for_its_news():
    world = World()
    world(FAILURES_MAX)
    world.now_s += REST_S
    during = []
    world.error = None
    answered = world.breaker.call(lambda: during.append((world(), world.spared)) or "answer")
    assert answered == "answer"
    assert during == [("timed out", True)]
    assert world() == "answer"


def test_rest_grows_and_an_answer_ends_it():
    world = World()
    world(FAILURES_MAX)
    world.now_s += REST_S
    world()  # fails once more
    world.now_s += REST_S
    assert world() == "timed out"
    assert world.spared
    world.now_s += REST_S
    world.error = None
    assert world(5) == "answer"


def test_a_question_that_is_too_large_says_nothing_of_the_endpoint():
    world = World()
    world.error = TooMuchError("too many points")
    world(10)
    assert world.asked == 10


def test_a_question_that_is_too_large_is_an_answer_all_the_same():
    world = World()
    world(FAILURES_MAX)
    world.now_s += REST_S
    world.error = TooMuchError("too many points")
    assert world() == "too many points"
    assert world(2) == "too many points"  # nobody is spared any longer


def test_no_answer_in_time_spares_the_others():
    world = World()
    world.error = TooLateError("no answer in time")
    assert world(200) == "no answer in time"
    assert world.spared
    assert world.asked == FAILURES_MAX


def test_a_few_failures_between_answers_spare_nobody():
    world = World()
    for _ in range(5):
        world.error = PrometheusError("once")
        world()
        world.error = None
        assert world() == "answer"
    with pytest.raises(ValueError):
        world.breaker.call(lambda: int("x"))
