"""Log lines on stderr for a collector: one JSON object each, or key=value text."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import orjson

from ops.controller.log_form import LogForm

QUIET = ("kopf", "urllib3", "asyncio", "aiohttp", "kubernetes", "requests")
MESSAGE_CHARS_MAX, FOREIGN_CHARS_MAX = 4096, 300


def set_up_logs(form: LogForm, *, debug: bool = False) -> None:
    """Send every record to stderr in one form; libraries speak from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form is LogForm.JSON else TextLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


class JsonLines(logging.Formatter):
    """time, level, logger, message and, of an exception, its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        return orjson.dumps(self._facts(record)).decode()

    def _facts(self, record: logging.LogRecord) -> dict[str, str]:
        facts = {
            "time": _moment(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        if record.exc_info:
            facts["traceback"] = _printable(self.formatException(record.exc_info))
        return facts


class TextLines(logging.Formatter):
    """The same for people: no line break but those of a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback below it."""
        message = " ".join(_message(record).split())
        line = f"{_moment(record.created)} {record.levelname.lower()} {record.name} {message}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _message(record: logging.LogRecord) -> str:
    """What is said; a library that shows whole objects is cut short."""
    foreign = record.name.startswith(QUIET)
    return _printable(record.getMessage()[: FOREIGN_CHARS_MAX if foreign else MESSAGE_CHARS_MAX])


def _moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _printable(text: str) -> str:
    """Whatever a label value holds, a line stays valid UTF-8."""
    return text.encode("utf-8", errors="replace").decode()
