"""The facade /v1: tasks, their events, files, operations, in the shapes that clients of the first YiVideo know."""

from gateway.v1.facade import facade

__all__ = ["facade"]
