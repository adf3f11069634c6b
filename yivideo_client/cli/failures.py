"""Exit codes of `yivideo`, and how an error is told.

0    done
1    the task or the workflow failed or was cancelled
2    the command line itself is wrong
3    the server refused the request (400, 409, 413, 422, 429)
4    what was named is not there
5    no key, a wrong one, or one that may not do this
6    the server cannot be reached, or has trouble of its own
7    the time that was given is over; the task goes on
8    a local file cannot be read or written
130  interrupted
141  whoever read the output has gone, as `head` does
143  told to end (SIGTERM)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from yivideo_client import errors
from yivideo_client.cli.plain import plain
from yivideo_client.connection import ProfileError

TASK_FAILED, USAGE, REFUSED, NOT_FOUND, NO_ACCESS, UNAVAILABLE, TIMED_OUT, LOCAL_FILE = range(1, 9)
INTERRUPTED, READER_GONE, TERMINATED = 130, 141, 143

_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (errors.TaskFailed, TASK_FAILED),
    (errors.TaskCancelled, TASK_FAILED),
    (errors.WorkflowFailed, TASK_FAILED),
    (errors.WorkflowCancelled, TASK_FAILED),
    (ProfileError, USAGE),
    (errors.NotFound, NOT_FOUND),
    (errors.Unauthenticated, NO_ACCESS),
    (errors.PermissionDenied, NO_ACCESS),
    (errors.ServerError, UNAVAILABLE),
    (errors.ApiError, REFUSED),
    (errors.ConnectionFailed, UNAVAILABLE),
    (errors.WaitTimeout, TIMED_OUT),
    (errors.IntegrityError, UNAVAILABLE),
    (errors.UnexpectedAnswer, UNAVAILABLE),
    (TimeoutError, TIMED_OUT),
    (OSError, LOCAL_FILE),
)


class Terminated(Exception):
    """Somebody has told this process to end."""


class UsageError(errors.ClientError):
    """The command line does not fit the task; the message says where."""


def exit_code(error: BaseException) -> int:
    """Return the exit code that stands for an error of the client."""
    if isinstance(error, UsageError):
        return USAGE
    return next((code for kind, code in _CODES if isinstance(error, kind)), UNAVAILABLE)


def tell(error: BaseException, of: str = "") -> None:
    """Write an error to stderr, and below its line the fields at fault and what else is known; `of`: what of several it befell."""
    said = _said(error)
    lines = [f"yivideo: {f'{of}: ' if of else ''}{said}{_hint(error)}"]
    if isinstance(error, errors.ApiError):
        told_of = [f"{fault.pointer}: {fault.detail}" for fault in error.fields]
        lines += [f"  {one}" for one in told_of if one not in said]
        if isinstance(error, errors.ServerError) and error.request_id:
            lines.append(f"  request {error.request_id}")
    if isinstance(error, errors.TaskFailed) and error.field:
        lines.append(f"  field {error.field}")
    lines += [f"  {note}" for note in getattr(error, "__notes__", ())]
    say(*lines)


def say(*lines: str) -> None:
    """Write lines to stderr, which may have been closed: then nobody wants to know."""
    with suppress(OSError):
        print(*map(plain, lines), sep="\n", file=sys.stderr, flush=True)


def _said(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and not isinstance(error, TimeoutError):
        of = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return f"{of}{error.strerror[0].lower()}{error.strerror[1:]}"
    return str(error) or type(error).__name__


def _hint(error: BaseException) -> str:
    """Say what may be done about a server that is not there, or is another one."""
    if isinstance(error, errors.UnexpectedAnswer):
        return "; is that the address of a gateway?"
    if not isinstance(error, errors.ConnectionFailed):
        return ""
    if error.advice:
        return f"; {error.advice}"
    if urlsplit(error.address).hostname in ("127.0.0.1", "localhost", "::1"):
        return "; is it up? `make run` starts one"
    return "; is it up, and is that its address?"


@contextmanager
def told() -> Iterator[None]:
    """End the process with the right code for what the client raises; a fault of our own keeps its traceback."""
    try:
        yield
    except KeyboardInterrupt:
        say("yivideo: interrupted")
        sys.exit(INTERRUPTED)
    except Terminated:
        say("yivideo: told to end")
        sys.exit(TERMINATED)
    except BrokenPipeError:
        _write_nowhere()
        sys.exit(READER_GONE)
    except (errors.ClientError, TimeoutError, OSError) as error:
        tell(error)
        try:
            sys.stdout.flush()
        except OSError:
            _write_nowhere()
        sys.exit(exit_code(error))


def _write_nowhere() -> None:
    """Have what is left of the output go nowhere: written at the process's end it would fail once more, and with a traceback."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
