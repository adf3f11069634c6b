"""Laws of the queue's keyspace: Redis holds exactly what the tasks of a model call for, entry by entry, and nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import redis

from results.states import TERMINAL_STATES
from tests.scheduler.queue.model import LIVE, MAX_RUNNING_PER_USER, WAITING, ModelTask, QueueModel
from tests.scheduler.short_times import PREFIX
from yivideo.task.v1 import task_pb2

CLOCK = PREFIX + "test-clock"
"""Where the scripts under test read the time (µs), instead of from the server."""

_DUMP = """
local read = {
  zset = function(k) return redis.call('ZRANGE', k, 0, -1, 'WITHSCORES') end,
  set = function(k) return redis.call('SMEMBERS', k) end,
  hash = function(k) return redis.call('HGETALL', k) end,
  string = function(k) return redis.call('GET', k) end,
  list = function(k) return redis.call('LRANGE', k, 0, -1) end,
  stream = function(k) return redis.call('XRANGE', k, '-', '+') end,
}
local all = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local kind = redis.call('TYPE', key).ok
  all[#all + 1] = { key, kind, read[kind](key) }
end
return all
"""

KEPT = {"nodes", "fence", "totals", "test-clock"}
"""Keys without a task: they have a fixed, small number."""

END_EVENT = {
    "completed": "completed",
    "skipped": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}


def with_test_clock(files: Mapping[str, str]) -> dict[str, str]:
    """Return the scripts' files so that they read their time from `CLOCK`."""
    line = "    local clock = redis.call('TIME')\n    ARGV, prefix = argv, argv[1]\n"
    moved = (
        "    ARGV, prefix = argv, argv[1]\n"
        "    local clock = redis.call('GET', prefix .. 'test-clock')\n"
        "    clock = { string.sub(clock, 1, -7), string.sub(clock, -6) }\n"
    )
    assert sum(text.count(line) for text in files.values()) == 1
    return {name: text.replace(line, moved) for name, text in files.items()}


class Dump:
    """Everything under the prefix at one moment, as Python values by the key's name without its prefix."""

    def __init__(self, raw: redis.Redis) -> None:
        self.values: dict[str, Any] = {}
        for key, kind, value in raw.eval(_DUMP, 0, PREFIX):
            self.values[key.decode().removeprefix(PREFIX)] = _read(kind.decode(), value)

    def members(self, key: str) -> set[str]:
        """The members of a set or sorted set, empty when there is none."""
        return set(self.values.get(key, ()))

    def lasting(self) -> dict[str, Any]:
        """What a repeated call must leave as it was: all but the time of a task's last message."""
        return {
            key: {name: item for name, item in value.items() if name != "updated"}
            if key.startswith("t:") and isinstance(value, dict)
            else value
            for key, value in self.values.items()
        }


def _read(kind: str, value: Any) -> Any:
    if kind in ("zset", "hash"):
        items = iter(value)
        read = float if kind == "zset" else bytes
        return {name.decode(): read(item) for name, item in zip(items, items, strict=True)}
    if kind == "set":
        return {name.decode() for name in value}
    return value


def _indexes(model: QueueModel) -> dict[str, set[str]]:
    """Every set and sorted set that the tasks call for."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, task in model.tasks.items():
        node, user = task.ask.node, task.ask.user
        keys = ["tasks", f"u:{user}:tasks", f"workflow:{name}"]
        if task.state in LIVE:
            keys += [f"q:{node}:lease", f"owned:{task.owner}", f"replica:{task.replica}"]
        if task.place:
            keys += [f"q:{node}:{task.place}"]
        if task.place == "ready":
            keys += [f"q:{node}:u:{user}"]
        if task.state in WAITING and task.start_deadline and not task.begun:
            keys += ["deadlines"]
        if task.state in TERMINAL_STATES:
            keys += ["expiry"]
        if task.callback_state == "pending":
            keys += ["outbox"]
        if task.dead:
            keys += ["dead", f"q:{node}:dead"]
        for key in keys:
            found[key].add(name)
        found[f"t:{name}:wait"] |= task.waits
    for name, dependents in model.dependents.items():
        found[f"t:{name}:dependents"] |= dependents
    found["settle"] |= model.unsettled
    found["schedulers"] |= set(model.schedulers)
    return {key: members for key, members in found.items() if members}


def _scores(model: QueueModel) -> dict[str, dict[str, float]]:
    """The sorted sets whose scores decide something."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for name, task in model.tasks.items():
        node = task.ask.node
        if task.place == "ready":
            found[f"q:{node}:u:{task.ask.user}"][name] = task.order[0]
            found[f"q:{node}:ready"][name] = task.due
        if task.place == "delayed":
            found[f"q:{node}:delayed"][name] = task.due
        if task.state in LIVE:
            found[f"q:{node}:lease"][name] = task.lease
        if task.state in TERMINAL_STATES:
            found["expiry"][name] = task.expire
        if task.callback_state == "pending":
            found["outbox"][name] = task.callback_due
    return found


def check(model: QueueModel, dump: Dump) -> None:
    """Raise AssertionError where Redis and the model part."""
    _check_records(model, dump)
    expected = _indexes(model)
    indexes = {
        key: set(value)
        for key, value in dump.values.items()
        if isinstance(value, dict | set) and not _is_record(key) and not _is_ring(key) and key not in KEPT
    }
    assert indexes == expected
    for key, scores in _scores(model).items():
        assert dump.values[key] == scores, key
    claims = {key for key in dump.values if key.startswith("claims:")}
    assert claims == {f"claims:{name}" for name in model.last_claim}
    _check_counts(model, dump)
    _check_rings(model, dump)


def _is_record(key: str) -> bool:
    return key.startswith("t:") and ":" not in key[2:]


def _is_ring(key: str) -> bool:
    return key.endswith((":users", ":turn", ":count", ":held")) or key.startswith("claims:")


def _check_records(model: QueueModel, dump: Dump) -> None:
    records = {key[2:] for key in dump.values if _is_record(key)}
    assert records == set(model.tasks)
    parts = {
        key
        for key, value in dump.values.items()
        if key.startswith("t:") and not isinstance(value, dict | set)
    }
    expected = set()
    for name, task in model.tasks.items():
        # `error` and `progress` are messages, whose bytes are no text where something in them is long.
        record = {field: value.decode(errors="replace") for field, value in dump.values[f"t:{name}"].items()}
        seen = {field: record.get(field, "") for field in ("state", "owner")}
        assert seen == {"state": task.state, "owner": task.owner}, name
        numbers = {
            field: int(record.get(field) or 0)
            for field in ("attempt", "tries", "lost", "unbegun", "fence", "seq", "cb_made", "contact")
        }
        assert numbers == {
            "attempt": task.attempt, "tries": task.tries, "lost": task.lost, "unbegun": task.unbegun, "fence": task.fence,
            "seq": task.events, "cb_made": task.deliveries, "contact": task.contact or 0,
        }, name  # fmt: skip
        expected |= {f"t:{name}:spec", f"t:{name}:ev"}
        expected |= {f"t:{name}:result"} if task.state == "completed" else set()
        expected |= {f"t:{name}:checkpoint"} if task.checkpoint else set()
        expected |= {f"t:{name}:input"} if task.resolved else set()
        expected |= {f"t:{name}:deliveries"} if task.deliveries else set()
        expected |= {f"t:{name}:attempts"} if task.noted else set()
        assert len(dump.values.get(f"t:{name}:attempts", [])) == min(task.noted, 50), name
        _check_events(task, dump.values[f"t:{name}:ev"])
    assert parts == expected


def _check_events(task: ModelTask, stream: list[Any]) -> None:
    """Numbered without gap; in the current life one terminal event, the last, when the task has ended, and none before."""
    assert [entry.decode() for entry, _ in stream] == [f"{n}-0" for n in range(1, task.events + 1)]
    life = [_kind(fields) for _, fields in stream[task.first_event - 1 :]]
    ends = [at for at, kind in enumerate(life) if kind in END_EVENT.values()]
    if task.state in TERMINAL_STATES:
        assert ends == [len(life) - 1], (task.ask.task_id, life)
        assert life[-1] == END_EVENT[task.state]
    else:
        assert ends == [], (task.ask.task_id, life)


def _kind(fields: list[bytes]) -> str | None:
    kind: str | None = task_pb2.TaskEvent.FromString(
        dict(zip(fields[::2], fields[1::2], strict=True))[b"e"]
    ).WhichOneof("event")
    return kind


def _check_counts(model: QueueModel, dump: Dump) -> None:
    totals = {name: int(value) for name, value in dump.values.get("totals", {}).items()}
    assert totals.get("queued", 0) == model.queued()
    assert totals.get("running", 0) == model.running()
    for key in [key for key in dump.values if key.endswith(":count")]:
        user = key.split(":")[1]
        counts = {name: int(value) for name, value in dump.values[key].items()}
        expected = {"queued": model.queued(user), "running": model.running(user)}
        assert counts == {name: value for name, value in expected.items() if value}, user
    for task in model.tasks.values():
        if task.state not in TERMINAL_STATES:
            assert f"u:{task.ask.user}:count" in dump.values
        assert model.running(task.ask.user) <= MAX_RUNNING_PER_USER


def _check_rings(model: QueueModel, dump: Dump) -> None:
    """Who has ready tasks stands in the node's ring, or is held at a limit that is reached; nobody else does either."""
    ready = {(task.ask.node, task.ask.user) for task in model.tasks.values() if task.place == "ready"}
    in_ring, held = set(), set()
    for key, value in dump.values.items():
        words = key.split(":")
        if key.startswith("q:") and key.endswith(":users"):
            in_ring |= {(words[1], user) for user in value}
        if key.endswith(":held"):
            held |= {(node, words[1]) for node in value}
            assert model.running(words[1]) >= MAX_RUNNING_PER_USER, key
    assert in_ring | held == ready
    assert not in_ring & held
