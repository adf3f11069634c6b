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
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from yivideo_client import errors
from yivideo_client.connection import ProfileError

TASK_FAILED, USAGE, REFUSED, NOT_FOUND, NO_ACCESS, UNAVAILABLE, TIMED_OUT, LOCAL_FILE = range(1, 9)
INTERRUPTED = 130

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


class UsageError(errors.ClientError):
    """The command line does not fit the task; the message says where."""


def exit_code(error: BaseException) -> int:
    """Return the exit code that stands for an error of the client."""
    if isinstance(error, UsageError):
        return USAGE
    return next((code for kind, code in _CODES if isinstance(error, kind)), UNAVAILABLE)


def tell(error: BaseException, of: str = "") -> None:
    """Write an error to stderr in a line, with the fields at fault below it; `of` says what of several it befell."""
    print(
        f"yivideo: {f'{of}: ' if of else ''}{str(error) or type(error).__name__}{_hint(error)}",
        file=sys.stderr,
    )
    if isinstance(error, errors.ApiError):
        for fault in error.fields:
            print(f"  {fault.pointer}: {fault.detail}", file=sys.stderr)
        if isinstance(error, errors.ServerError) and error.request_id:
            print(f"  request {error.request_id}", file=sys.stderr)
    if isinstance(error, errors.TaskFailed) and error.field:
        print(f"  field {error.field}", file=sys.stderr)


def _hint(error: BaseException) -> str:
    """Say what may be done about a server that is not there, or is another one."""
    if isinstance(error, errors.UnexpectedAnswer):
        return "; is that the address of a gateway?"
    if not isinstance(error, errors.ConnectionFailed):
        return ""
    if urlsplit(error.address).hostname in ("127.0.0.1", "localhost", "::1"):
        return "; is it up? `make run` starts one"
    return "; is it up, and is that its address?"


@contextmanager
def told() -> Iterator[None]:
    """End the process with the right code for what the client raises; a fault of our own keeps its traceback."""
    try:
        yield
    except KeyboardInterrupt:
        print("yivideo: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except (errors.ClientError, TimeoutError, OSError) as error:
        tell(error)
        sys.exit(exit_code(error))
