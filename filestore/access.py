"""Who may read, list, replace and delete which files. Backends ask these rules at the instant of their own step, so that
nothing can be put in between a check and what was checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.errors import FileExists, FileNotFound, InvalidArgument, PermissionDenied

if TYPE_CHECKING:
    from filestore.backend import FileInfo

ANONYMOUS = "anonymous"
"""Who calls without a name, and who owns what was written before files had owners, or past FileService."""

_USER = re.compile(r"[\x21-\x7e]{1,128}")
_TASK_ID = re.compile(r"[A-Za-z0-9_:-][A-Za-z0-9._:-]{0,127}")

Check = Callable[["FileInfo"], object]
"""Raises for a file that may not be read."""

Guard = Callable[["FileInfo"], None]
"""Raises for a file that may not be replaced or deleted; asked when it is about to be."""


def free(_: FileInfo) -> None:
    """Let any file be replaced or deleted."""


@dataclass(frozen=True)
class Caller:
    """For whom a call is made."""

    user: str = ANONYMOUS
    all_files: bool = False
    """Whether every file is within reach, whoever owns it."""


NOBODY = Caller()
"""Who calls without a name."""

EVERYBODY = Caller(all_files=True)
"""The installation itself: its chores, its tests, and clients that need no key."""


@dataclass(frozen=True)
class Reach:
    """Which files a listing shows, or a delete takes."""

    owners: frozenset[str] | None = None
    """Whose; None: everybody's."""
    prefixes: tuple[str, ...] = ()
    """Beginnings of paths that count whoever owns what lies there."""
    task_id: str = ""
    """Only what this task has stored; empty: whatever made it."""

    def takes(self, info: FileInfo) -> bool:
        """Say whether a file is one of these."""
        if self.task_id and info.task_id != self.task_id:
            return False
        return self.owners is None or info.owner in self.owners or self.shares(info.path)

    def shares(self, path: str) -> bool:
        """Say whether a path counts whoever owns it."""
        return path.startswith(self.prefixes) if self.prefixes else False


EVERYTHING = Reach()


def checked_caller(user: str, all_files: bool) -> Caller:
    """Return the caller that a request names; raises InvalidArgument."""
    if user and not _USER.fullmatch(user):
        raise InvalidArgument.at("/caller/user", "1 to 128 printable ASCII characters without spaces")
    return Caller(user or ANONYMOUS, all_files)


def checked_task_id(task_id: str) -> str:
    """Return the task's id, or nothing; raises InvalidArgument."""
    if task_id and not _TASK_ID.fullmatch(task_id):
        raise InvalidArgument.at("/task_id", "1 to 128 of A-Z a-z 0-9 . _ : -, not beginning with a dot")
    return task_id


class AccessRules:
    """The rules of one installation."""

    def __init__(self, shared_prefixes: tuple[str, ...] = (), *, share_anonymous: bool = False) -> None:
        self._shared = shared_prefixes
        self._share_anonymous = share_anonymous

    def readable(self, caller: Caller) -> Reach:
        """Return which files a caller reads and lists."""
        if caller.all_files:
            return EVERYTHING
        owners = {caller.user, ANONYMOUS} if self._share_anonymous else {caller.user}
        return Reach(frozenset(owners), self._shared)

    def own(self, caller: Caller, task_id: str = "") -> Reach:
        """Return which files a caller deletes; only what one task has stored when `task_id` is given."""
        return Reach(None if caller.all_files else frozenset([caller.user]), task_id=task_id)

    def require_readable(self, caller: Caller, info: FileInfo) -> FileInfo:
        """Return a file that the caller may read; raises FileNotFound for any other: to them it does not exist."""
        if not self.readable(caller).takes(info):
            raise FileNotFound(f"no file {info.path} in bucket {info.bucket}")
        return info

    def replacing(self, caller: Caller, *, task_id: str = "", if_absent: bool = False) -> Guard:
        """Return what refuses to replace a file: FileExists, PermissionDenied for another user's.

        A task replaces only what it has stored itself, whatever its user may do.
        """

        def guard(info: FileInfo) -> None:
            if not (caller.all_files or info.owner == caller.user):
                raise PermissionDenied(f"the path {info.path} is another user's")
            if if_absent or (task_id and (info.task_id, info.owner) != (task_id, caller.user)):
                raise FileExists(f"{info.path} exists")

        return free if caller.all_files and not (if_absent or task_id) else guard

    def deleting(self, caller: Caller, task_id: str = "") -> Guard:
        """Return what refuses to delete a file: FileNotFound, PermissionDenied for one that may only be read."""
        own = self.own(caller, task_id)

        def guard(info: FileInfo) -> None:
            if own.takes(info):
                return
            self.require_readable(caller, info)
            if task_id:
                raise FileNotFound(f"{info.path} is not what task {task_id} has stored")
            raise PermissionDenied(f"the file {info.path} is another user's")

        return free if own == EVERYTHING else guard

    def deleting_version(self, caller: Caller, version: FileInfo) -> Guard:
        """Return what refuses to delete any other content of a path than this one; raises FileNotFound, or as `deleting`."""
        allowed = self.deleting(caller)

        def guard(info: FileInfo) -> None:
            if (info.etag, info.update_time) != (version.etag, version.update_time):
                raise FileNotFound(f"{info.path} is another file by now")
            allowed(info)

        return guard
