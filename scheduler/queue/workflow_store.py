"""Workflows in Redis as clients act on them: submit, read, cancel, retry, list. The scripts decide; this names arguments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redislink.pipe import Argument
from results.workflow_context import member_id
from runtime.errors import InvalidArgument, TaskConflict, TooManyTasks, WorkflowNotFound, WrongState
from scheduler.metrics import count_ended
from scheduler.queue.bindings import unbound
from scheduler.queue.keys import Keys, workflow_record
from scheduler.queue.presenter import StoredTask
from scheduler.queue.record import TaskRecord, to_record
from scheduler.queue.redis_link import RedisLink, named, random_token
from scheduler.queue.task_store import TaskStore, again_event, cancelled_event, cancelling_event
from scheduler.queue.workflow_plan import AdmittedWorkflow
from scheduler.settings import SchedulerSection
from yivideo.task.v1 import workflow_pb2

MOST_TASKS = 500
"""Of a workflow are shown: its own at most 100, and those that were submitted beside them."""

_RETRIED = again_event("WORKFLOW_RETRIED", "the workflow goes on, and the task runs again")


@dataclass(frozen=True)
class StoredWorkflow:
    """A workflow as it is kept. Without `record`: tasks that only share its id."""

    workflow_id: str
    user: str
    record: TaskRecord | None
    spec: workflow_pb2.WorkflowSpec
    tasks: list[StoredTask]

    @property
    def member_ids(self) -> dict[str, str]:
        """Ids of the tasks that it was submitted with, by key."""
        return {task.key: member_id(self.workflow_id, task) for task in self.spec.tasks}


@dataclass(frozen=True)
class Stopping:
    """A task whose node must be told to stop it."""

    task_id: str
    address: str
    attempt: int
    fence: int


class WorkflowStore:
    """The workflows of one installation."""

    def __init__(self, redis: RedisLink, keys: Keys, tasks: TaskStore, settings: SchedulerSection) -> None:
        self._redis = redis
        self._keys = keys
        self._tasks = tasks
        self._settings = settings
        self._limits = settings.limits
        self._ttl_ms = int(settings.result_ttl_seconds * 1000)

    async def submit(self, workflow: AdmittedWorkflow) -> str:
        """Store a workflow once, whole; answers `created` or `existing`.

        Raises TaskConflict, TooManyTasks, InvalidArgument or BadReference.
        """
        record = workflow_record(workflow.spec.workflow_id)
        promised = await self._redis.promise(
            "submit_workflow",
            self._arguments(workflow, record),
            keys=[self._keys.task(record), self._keys.task(record, "spec"), self._keys.tasks],
        )
        answer = promised.answer
        outcome: str = answer[0].decode()
        self._raise_refusal(outcome, [part for part in answer[1:3] if isinstance(part, bytes)], workflow)
        for dependency in answer[3]:
            await self._tasks.settle(dependency.decode())
        promised.told()
        return outcome

    def _arguments(self, workflow: AdmittedWorkflow, record: str) -> list[Argument]:
        spec, limits, nonce = workflow.spec, self._limits, random_token()
        arguments = named(
            {
                "id": record,
                "sha": workflow.sha,
                "nonce": nonce,
                "user": spec.user,
                "spec": spec.SerializeToString(),
                "callback": spec.callback_url,
                "ttl": int(self._settings.workflow_ttl_days * 86_400_000),
                "max_queued_of_user": limits.max_queued_per_user,
                "max_queued": limits.max_queued,
            }
        )
        for index, task in enumerate(workflow.tasks):
            arguments += named({"task": index} | self._tasks.store_names(task, nonce), task.fields)
        return arguments

    def _raise_refusal(self, outcome: str, detail: Sequence[bytes], workflow: AdmittedWorkflow) -> None:
        wait = self._limits.retry_after_seconds
        match outcome:
            case "conflict":
                raise TaskConflict(f"workflow {workflow.spec.workflow_id!r} exists with another payload")
            case "user_full" | "all_full":
                raise TooManyTasks("too many tasks wait already", retry_after_seconds=wait)
            case "task_exists":
                index = int(detail[0])
                task_id = workflow.tasks[index].spec.task_id
                raise TaskConflict(f"/tasks/{index}/spec/task_id: task {task_id!r} exists already")
            case "no_dependency":
                pointer = f"/tasks/{int(detail[0])}/spec/depends_on/{int(detail[1])}"
                raise InvalidArgument.at(pointer, "no such task, and no key of this workflow")
            case "unbound":
                index = int(detail[0])
                raise unbound(workflow.tasks[index].sources[int(detail[1])], f"/tasks/{index}/spec")

    async def load(self, workflow_id: str, user: str = "", *, brief: bool = False) -> StoredWorkflow:
        """Return a workflow with its tasks, or the tasks that share its id; only those of `user`, when it is given.

        `brief` leaves out results. Raises WorkflowNotFound.
        """
        name = workflow_record(workflow_id)

        def reads(pipe: Any) -> None:
            pipe.hgetall(self._keys.task(name))
            pipe.get(self._keys.task(name, "spec"))
            pipe.lrange(self._keys.task(name, "members"), 0, -1)
            pipe.zrange(self._keys.workflow(workflow_id), 0, MOST_TASKS - 1)
            pipe.time()

        fields, raw, members, others, (seconds, _) = await self._redis.read(reads)
        record = to_record(name, fields) if fields else None
        if record is not None and (record.expired(seconds * 1000) or user not in ("", record.user)):
            record = None
        spec = workflow_pb2.WorkflowSpec.FromString(raw) if record is not None else None
        owner = record.user if record is not None else user
        ids = dict.fromkeys(one.decode() for one in [*(members if record else ()), *others])
        stored = await self._tasks.load_many(list(ids)[:MOST_TASKS], whole=not brief)
        tasks = [task for task in stored if owner in ("", task.record.user)]
        if record is None and not tasks:
            raise WorkflowNotFound(f"no workflow {workflow_id!r}")
        owner = owner or tasks[0].record.user
        return StoredWorkflow(
            workflow_id,
            owner,
            record,
            spec or workflow_pb2.WorkflowSpec(workflow_id=workflow_id, user=owner),
            [task for task in tasks if task.record.user == owner],
        )

    async def load_record(self, workflow_id: str, user: str = "") -> TaskRecord:
        """Return the record of a workflow that was submitted as a whole; only that of `user`, when it is given.

        Raises WorkflowNotFound.
        """
        name = workflow_record(workflow_id)

        def reads(pipe: Any) -> None:
            pipe.hgetall(self._keys.task(name))
            pipe.time()

        fields, (seconds, _) = await self._redis.read(reads)
        record = to_record(name, fields) if fields else None
        if record is None or record.expired(seconds * 1000) or user not in ("", record.user):
            raise WorkflowNotFound(f"no workflow {workflow_id!r} was submitted as a whole")
        return record

    async def cancel(self, workflow_id: str, reason: str, grace_seconds: float | None) -> list[Stopping]:
        """Stop all tasks that have not ended; gives those that run. Raises WorkflowNotFound or WrongState."""
        name = workflow_record(workflow_id)
        grace = "" if grace_seconds is None else str(grace_seconds)
        bodies = [cancelling_event(reason), cancelled_event(reason)]
        promised = await self._redis.promise(
            "cancel_workflow",
            [name, random_token(), reason, grace, *bodies, self._ttl_ms],
            keys=[self._keys.task(name)],
        )
        answer = promised.answer
        match answer[0]:
            case b"missing":
                raise WorkflowNotFound(f"no workflow {workflow_id!r} was submitted as a whole")
            case b"wrong":
                state = answer[1].decode()
                is_told = "being cancelled already" if state == "cancelling" else state
                raise WrongState(f"workflow {workflow_id!r} is {is_told}")
        for told in answer[3]:
            node, task_id = told.decode().split(" ")
            count_ended(node, "cancelled")
            await self._tasks.trace_waited(task_id, "cancelled", "")
        for ended in answer[1]:
            await self._tasks.settle(ended.decode())
        promised.told()
        return [
            Stopping(one.decode(), address.decode(), int(attempt), int(fence))
            for one, address, attempt, fence in answer[2]
        ]

    async def begin_deletion(self, workflow_id: str) -> bool:
        """Keep an ended workflow from going on; False when it has gone on already. Raises WorkflowNotFound."""
        name = workflow_record(workflow_id)
        answer = await self._redis.run("begin_deletion", [name], keys=[self._keys.task(name)])
        if answer == b"missing":
            raise WorkflowNotFound(f"no workflow {workflow_id!r}")
        return bool(answer == b"marked")

    async def retry(self, workflow_id: str, task_ids: Sequence[str]) -> int:
        """Let an ended workflow go on; `task_ids` run again although they completed. Gives how many tasks run again.

        Raises WorkflowNotFound or WrongState.
        """
        name = workflow_record(workflow_id)
        promised = await self._redis.promise(
            "retry_workflow", [name, random_token(), _RETRIED, *task_ids], keys=[self._keys.task(name)]
        )
        answer = promised.answer
        match answer[0]:
            case b"missing":
                raise WorkflowNotFound(f"no workflow {workflow_id!r} was submitted as a whole")
            case b"wrong":
                raise WrongState(
                    f"workflow {workflow_id!r} is {answer[1].decode()}; only an ended one goes on"
                )
            case b"gone":
                raise WrongState(f"task {answer[1].decode()!r} of workflow {workflow_id!r} was deleted")
            case b"deleted":
                raise WrongState(f"workflow {workflow_id!r} is being deleted; delete it again to end that")
            case b"nothing":
                raise WrongState(f"all tasks of workflow {workflow_id!r} have completed; name from where on")
        for dependency in answer[1]:
            await self._tasks.settle(dependency.decode())
        promised.told()
        return int(answer[2])
