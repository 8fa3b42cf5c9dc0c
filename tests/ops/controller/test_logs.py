"""Log lines: one each, valid, whatever is said."""

from __future__ import annotations

import json
import logging
import sys

from ops.controller.logs import JsonLines, TextLines


def record(text, *, name="ops.controller.x", level=logging.INFO, error=None):
    info = (type(error), error, None) if error else None
    return logging.LogRecord(name, level, __file__, 1, text, (), info)


def test_a_line_is_json_with_its_traceback_inside():
    try:
        raise ValueError("a\nb")
    except ValueError:
        made = record("it failed", level=logging.ERROR)
        made.exc_info = sys.exc_info()
    told = json.loads(JsonLines().format(made))
    assert told["level"] == "error"
    assert told["message"] == "it failed"
    assert "ValueError: a\nb" in told["traceback"]


def test_text_has_no_line_break_of_a_label():
    line = TextLines().format(record("alert=\n2026 error forged"))
    assert "\n" not in line
    assert line.endswith("info ops.controller.x alert= 2026 error forged")


def test_half_a_character_does_not_end_the_log():
    assert json.loads(JsonLines().format(record("label=\ud800")))["message"] == "label=?"


def test_a_library_is_cut_short():
    assert len(json.loads(JsonLines().format(record("x" * 9000, name="kopf.y")))["message"]) == 300
    assert len(json.loads(JsonLines().format(record("x" * 9000)))["message"]) == 4096
