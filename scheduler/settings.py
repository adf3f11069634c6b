"""Settings of the scheduler process; every length of time that its promises rest on is here."""

from __future__ import annotations

from pydantic import Field, SecretStr, model_validator

from redislink.address import RedisUrl
from runtime.settings import ProcessSettings, Section

ALLOW_SETTING = "scheduler.callbacks.allow"
"""What refusals of a receiver's address name."""


class NodeSection(Section):
    """Where the replicas of one node are."""

    node: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    """The node's name, the first part of its task names."""
    addresses: tuple[str, ...] = ()
    """`host:port` or `unix:/path` of each replica. A host name with several addresses (a headless service) counts as one
    replica per address; names are resolved again every `resolve_seconds`."""


class CallbackSection(Section):
    """How callbacks are delivered."""

    secrets: tuple[SecretStr, ...] = ()
    """Standard Webhooks secrets (`whsec_<base64>`); every delivery is signed with each, so that one can be replaced while
    receivers still know the other. Empty: callbacks go out unsigned, and the log says so at start."""
    allow: tuple[str, ...] = ()
    """Private receivers that may be called: addresses, networks or host names, each with or without `:port`."""
    schedule_seconds: tuple[float, ...] = (1, 2, 4, 60, 300, 1800, 7200, 18000, 36000)
    """Waits before the second, third, … attempt; after the last one the callback has failed. The first three are what the
    first YiVideo promised, the rest follows Svix, so that a receiver may be down for a working day."""
    timeout_seconds: float = Field(20.0, gt=0, le=120)
    """Time that one attempt may take, answer body included."""
    hold_seconds: float = Field(60.0, gt=0, le=600)
    """Time after which another replica may repeat a delivery whose holder died; more than `timeout_seconds`."""
    max_retry_after_seconds: float = Field(3600.0, ge=0)
    """Longest wait that a receiver's Retry-After can ask for."""
    host_concurrency: int = Field(4, ge=1, le=64)
    """Deliveries to one host at a time, in each scheduler replica."""
    concurrency: int = Field(128, ge=1, le=512)
    """Deliveries at a time, in each scheduler replica: so many that some hosts which take all of `timeout_seconds` leave places
    for the others until their circuits open."""
    circuit_failures: int = Field(8, ge=1)
    """Failures in a row after which a host is left alone for `circuit_seconds`; the wait is not an attempt."""
    circuit_seconds: float = Field(30.0, ge=0)
    """See `circuit_failures`."""
    public_url: str = ""
    """Prefix of the file URLs in a callback body, `<public_url>/v1/files/download/<path>`; empty: the object path alone."""

    @model_validator(mode="after")
    def _hold_outlasts_attempt(self) -> CallbackSection:
        if self.hold_seconds <= self.timeout_seconds:
            raise ValueError("hold_seconds must be more than timeout_seconds")
        return self


class LimitsSection(Section):
    """How much may wait and run. 0 means no limit."""

    max_queued: int = Field(200_000, ge=0)
    """Waiting tasks in all."""
    max_queued_per_user: int = Field(20_000, ge=0)
    """Waiting tasks of one user."""
    max_running: int = Field(0, ge=0)
    """Running tasks in all."""
    max_running_per_user: int = Field(0, ge=0)
    """Running tasks of one user, over all nodes."""
    max_input_bytes: int = Field(256 * 1024, ge=1024)
    """Largest input, serialised."""
    max_workflow_tasks: int = Field(100, ge=1, le=100)
    """Tasks of one workflow that is submitted as a whole."""
    max_workflow_bytes: int = Field(2 * 1024 * 1024, ge=1024)
    """Largest workflow, serialised."""
    retry_after_seconds: float = Field(5.0, gt=0)
    """What a refused client is told to wait."""


class SchedulerSection(Section):
    """The scheduler's own settings."""

    redis_url: RedisUrl = SecretStr("redis://127.0.0.1:6379/0")
    """`redis://`, `rediss://` or `unix://`; may carry a password. Redis 7 or later. Or the sentinels that know which Redis is the
    primary: `redis+sentinel://:password@host:26379,host:26379/name/0?sentinel_password=…` (`rediss+sentinel://`: TLS to all)."""
    min_replicas: int = Field(0, ge=0, le=8)
    """Replicas of Redis that must have what a client is told to be done: a submit, a cancel, a retry, a delete. With fewer the call
    is answered UNAVAILABLE. 0: an answer waits for the primary alone, and a failover can lose what it answered last."""
    min_replicas_seconds: float = Field(1.0, gt=0, le=4)
    """How long a call waits for those replicas."""
    key_prefix: str = Field("{yivideo}:", pattern=r"^[A-Za-z0-9_:.-]*\{[A-Za-z0-9_.-]+\}[A-Za-z0-9_:.-]*:$")
    """Begins every key; the braces keep all keys in one Redis Cluster slot, which the scripts need."""
    redis_retry_seconds: float = Field(5.0, gt=0)
    """How long a client's call waits for Redis before it is answered UNAVAILABLE."""
    nodes: tuple[NodeSection, ...] = ()
    """Where the nodes are."""
    filestore_address: str = ""
    """The filestore's gRPC address; empty: DeleteTask leaves files alone and says so."""
    limits: LimitsSection = LimitsSection()
    """How much may wait and run."""
    callbacks: CallbackSection = CallbackSection()
    """How callbacks are delivered."""
    lease_seconds: float = Field(15.0, gt=0)
    """Life of an attempt's lease after the last message from its node."""
    silence_seconds: float = Field(15.0, gt=0)
    """A stream without a message for this long is dropped and opened again; three of a node's heartbeats."""
    lost_seconds: float = Field(45.0, ge=0)
    """How long a broken stream to a node that is silent is reopened before the attempt counts as lost. Not less than the time in
    which such a node is sure to have ended its work, else two attempts overlap: 10 s until it notices that it was cut off
    (runtime.server), 15 s as an orphan (`node.orphan_seconds`), 5 s of grace (`node.kill_grace_seconds`), 10 s in which it may be
    frozen meanwhile (`node.frozen_seconds`), and 5 s for clocks. A node that answers and does not know the attempt, because it was
    started again, ends the wait at once."""
    start_seconds: float = Field(30.0, gt=0)
    """How long after the claim a node may still begin an attempt; a request can be held up in a network that was cut. Less than
    `lost_seconds` by more than the clocks of nodes and Redis may differ; a node whose clock is ahead by more refuses all work."""
    refused_seconds: float = Field(5.0, ge=0)
    """The same for a node whose address refuses connections: its process is gone, and its reaper has had this time to end what
    it left. Set it to `lost_seconds` where something between refuses connections for nodes that live."""
    hand_back_seconds: float = Field(20.0, ge=0, le=3600)
    """How long a scheduler that is told to stop goes on listening to nodes that are told to stop, too, so that what they hand back
    counts as handed back; more than their drain and their `node.kill_grace_seconds` together. Nodes that do not drain are let go
    of at once."""
    beat_seconds: float = Field(2.0, gt=0)
    """Period of the lease renewal."""
    scheduler_ttl_seconds: float = Field(6.0, gt=0)
    """A scheduler that has not renewed for this long is dead and its attempts are adopted; three beats."""
    sweep_seconds: float = Field(1.0, gt=0)
    """Longest wait between two turns of the sweeper."""
    resolve_seconds: float = Field(5.0, gt=0)
    """Period at which node addresses are resolved again."""
    max_worker_lost: int = Field(3, ge=1)
    """A task whose node was lost this often while it ran fails with WORKER_LOST and becomes a dead letter."""
    max_never_begun: int = Field(10, ge=1)
    """The same for nodes that were lost before they said that they had begun, which is seldom the task's fault."""
    result_ttl_seconds: float = Field(7 * 86400.0, gt=0)
    """How long an ended task is kept."""
    workflow_ttl_days: float = Field(7.0, gt=0)
    """How long a workflow that was submitted as a whole is kept with all of its tasks, from its end on: the first YiVideo's
    `core.workflow_ttl_days`."""
    default_timeout_seconds: int = Field(1800, ge=1)
    """Attempt timeout when neither client nor task type sets one."""
    cancel_grace_seconds: float = Field(10.0, ge=0, le=60)
    """Grace between SIGTERM and SIGKILL that a deadline gives the work."""
    deadline_slack_seconds: float = Field(1.0, ge=0)
    """The node knows the timeout too and acts first; the scheduler steps in this much later."""
    kill_seconds: float = Field(30.0, gt=0)
    """After deadline and grace: time for the node to report the end before the task is failed without it."""
    unavailable_seconds: float = Field(15.0, ge=0)
    """How long a task type counts as available after the last replica that offers it was in sight; three of a node's heartbeats."""
    refuse_unavailable: bool = False
    """Whether tasks of a type that is not available are refused with NODE_UNAVAILABLE when their submit does not say what it
    wants. Otherwise they wait for a node."""
    starts: dict[str, str] = Field(default_factory=dict)
    """Commands that start nodes here, by the node's name: told to whoever waits for a node of which no replica is there."""
    forget_types_seconds: float = Field(30 * 86400.0, ge=60)
    """After this long without a replica that offers it, a task type is forgotten: a submit is refused as UNKNOWN_TASK_TYPE. A node
    that `nodes` names may be away for as long as nobody needs it: of its types those are forgotten that it has come without."""
    scaler_open: bool = False
    """Whether KEDA's ExternalScaler answers callers without `runtime.token`, which KEDA cannot show; it tells how many tasks nodes
    have, and nothing else. With mutual TLS its callers show a certificate all the same."""
    progress_seconds: float = Field(0.25, ge=0)
    """Least time between two stored progress events of one attempt."""
    watch_heartbeat_seconds: float = Field(15.0, gt=0)
    """A watcher hears something at least this often."""
    watch_buffer_events: int = Field(256, ge=1)
    """Live events kept for a slow watcher, of 256 KiB at most; past it, it reads from the store again."""
    page_secret: SecretStr | None = None
    """Signs page tokens; the same in all replicas. Unset: derived from the key prefix, which stops mistakes, not forgery."""


class SchedulerSettings(ProcessSettings):
    """The scheduler process."""

    scheduler: SchedulerSection = SchedulerSection()
    """The scheduler's own settings."""
