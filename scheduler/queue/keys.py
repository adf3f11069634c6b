"""Every Redis key of the scheduler, with its reason. The Lua scripts build the same names from the prefix.

All keys share one hash tag (in the prefix), so a script may follow an id it finds in one key to another key in the same slot.

Of one task:
    t:ID              hash    what scripts decide by: state, counters, fence, owner, times; small, hot
    t:ID:spec         string  TaskSpec as sent, secrets included (the node needs them); up to 256 KiB, so not in the hash
    t:ID:input        string  the input after its references were resolved; only when it had some
    t:ID:result       string  TaskCompleted; any size, so not in the hash
    t:ID:checkpoint   string  what the last attempt saved for the next one; gone when the task ends
    t:ID:ev           stream  events, id `<sequence>-0`: Redis id, gRPC sequence and SSE id are one number; MAXLEN ~ 1000
    t:ID:log          stream  lines for people, under the sequence of their event; MAXLEN ~ 500; progress cannot push them out
    t:ID:attempts     list    what became of the last 50 attempts that were followed by another
    t:ID:deliveries   list    the last 50 attempts at the callback
    t:ID:wait         set     ids that this task still waits for
    t:ID:dependents   set     ids that wait for this task; outlives the record until they are settled

Of one workflow that was submitted as a whole: a record as a task's, under the id `workflow/ID`, so that events, callback,
deliveries and expiry are one machine for both; besides
    t:workflow/ID:spec     string  WorkflowSpec as asked
    t:workflow/ID:members  list    its tasks in order
    t:workflow/ID:open     set     those that have not ended; with the last one it ends

Of one node's queue:
    q:NODE:users      zset    ring of users with ready tasks, by turn; the claim takes the lowest
    q:NODE:turn       int     turns served; where a new user joins the ring
    q:NODE:u:USER     zset    a user's ready tasks, by (100 - priority) * 1e13 + accepted ms: below 2^53, so exact
    q:NODE:ready      zset    all ready tasks by ready time: how many, and how long the oldest has waited
    q:NODE:delayed    zset    tasks by start time
    q:NODE:blocked    zset    tasks that wait for others
    q:NODE:lease      zset    running tasks by lease end; what the sweeper looks at
    q:NODE:dead       zset    dead letters by time

Of one user:
    u:USER:count      hash    queued, running: what limits are checked against
    u:USER:held       set     nodes whose ring this user left because of max_running
    u:USER:tasks      zset    all tasks by accepted µs, for listing
    u:USER:workflows  zset    records of workflows by accepted µs, for listing

Of all:
    tasks             zset    all tasks by accepted µs, for listing
    workflows         zset    records of all workflows by accepted µs, for listing
    workflow:ID       zset    a workflow's tasks by accepted µs: listing and references
    totals            hash    queued, running of the installation
    nodes             set     nodes that ever had a task
    fence             int     last fencing token: max(last + 1, server time in µs), so that a rewound Redis cannot reissue one
    deadlines         zset    waiting tasks by start deadline
    expiry            zset    ended tasks by the time their record goes
    feed              stream  `<sequence> <ms> <id>` of every stored event, in order, for WatchEvents; MAXLEN ~ 100000, 7 days
    settle            zset    ended tasks whose dependents are not yet told
    outbox            zset    callbacks by due time
    dead              zset    dead letters of all nodes by time
    schedulers        zset    scheduler replicas by the time until which they count as alive
    owned:SCHEDULER   set     live attempts of one scheduler replica: what is adopted when it dies
    claims:SCHEDULER  hash    node address and lane -> last claim, so that a claim whose answer was lost finds what it took again
    replica:REPLICA   set     live attempts on one node replica: never more than its slots, whoever claims
    types             hash    task name -> TaskType, as its node published it last; gone when nobody has offered it for long
    revoked           hash    API key's hash -> `<ms> <RevokedKey>`; 10,000 at most
    revoked_until     zset    those of them whose keys expire by themselves, by that time; then they go
    seen              hash    task name -> ms when a scheduler last saw a node replica that offers it
Channels (nothing rests on their delivery):
    ev:ID             the task's events as they are stored
    wake              `node NODE SCHEDULER`: something became ready; `delayed MS`; `outbox`; `types`; `ended SCHEDULER ID`: a
                      task was ended whose end a call at that other scheduler waits for
"""

from __future__ import annotations


def workflow_record(workflow_id: str) -> str:
    """Return the id under which a workflow's own record lies among those of tasks; no task can have it."""
    return f"workflow/{workflow_id}"


class Keys:
    """Names of keys under one prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.tasks = f"{prefix}tasks"
        self.workflows = f"{prefix}workflows"
        self.nodes = f"{prefix}nodes"
        self.dead = f"{prefix}dead"
        self.types = f"{prefix}types"
        self.revoked = f"{prefix}revoked"
        self.revoked_until = f"{prefix}revoked_until"
        self.feed = f"{prefix}feed"
        self.seen = f"{prefix}seen"
        self.outbox = f"{prefix}outbox"
        self.schedulers = f"{prefix}schedulers"
        self.settle = f"{prefix}settle"
        self.expiry = f"{prefix}expiry"
        self.wake_channel = f"{prefix}wake"

    def task(self, task_id: str, part: str = "") -> str:
        """Return the key of a task's record, or of one of its parts (`spec`, `input`, `result`, `ev`, `log`, `attempts`, …)."""
        return f"{self.prefix}t:{task_id}:{part}" if part else f"{self.prefix}t:{task_id}"

    def queue(self, node: str, name: str) -> str:
        """Return one of a node's queue keys (`ready`, `delayed`, `blocked`, `lease`, `dead`, `users`)."""
        return f"{self.prefix}q:{node}:{name}"

    def user_tasks(self, user: str) -> str:
        """Return the key of a user's listing."""
        return f"{self.prefix}u:{user}:tasks"

    def user_workflows(self, user: str) -> str:
        """Return the key of a user's listing of workflows."""
        return f"{self.prefix}u:{user}:workflows"

    def workflow(self, workflow_id: str) -> str:
        """Return the key of a workflow's tasks."""
        return f"{self.prefix}workflow:{workflow_id}"

    def events_channel(self, task_id: str) -> str:
        """Return the channel on which a task's events are told."""
        return f"{self.prefix}ev:{task_id}"
