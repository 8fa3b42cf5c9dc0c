"""Several futures of one past: a forked process goes on with the world while this one waits.

Worlds that share every draw are the same world until somebody acts. Simulating that part once
and forking there costs less than a copy of the objects could: the kernel copies memory pages
only when they are written.
"""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from ops.errors import WorldError

Answer = dict[str, Any]  # small and picklable


def in_fork(name: str, future: Callable[[], Answer]) -> Answer:
    """Run `future` in a fork of this process and return its answer; this process is unchanged.

    Differs: needs an operating system with fork, as every POSIX system has.

    Raises:
        WorldError: the fork died before it answered, or `future` failed in it.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(sender, future), name=name, daemon=True)
    child.start()
    sender.close()  # or a child that died would never be an end of file
    try:
        answer, failure = receiver.recv()
    except EOFError:
        child.join()
        raise WorldError(
            f"the process of world {name!r} ended with exit code {child.exitcode} before it "
            "answered; -9 is often a lack of memory: run fewer jobs"
        ) from None
    finally:
        receiver.close()
    child.join()
    if failure:
        raise WorldError(f"world {name!r} failed: {failure}")
    assert isinstance(answer, dict)
    return answer


def _answer(sender: Connection, future: Callable[[], Answer]) -> None:
    try:
        sender.send((future(), ""))
    except KeyboardInterrupt:
        pass  # the parent got the same signal and says so
    except Exception:  # noqa: BLE001  it crosses to the parent, which raises it
        sender.send((None, traceback.format_exc()))
    finally:
        sender.close()
