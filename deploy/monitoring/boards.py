"""The dashboards of an installation. `python -m deploy.monitoring` writes them as the JSON that Grafana imports."""

from __future__ import annotations

from deploy.monitoring.panels import Dashboard, Panel, Query, Row, Variable, median_and_tail, quantile, rate

_NODE = 'node="$node"'
_TASK = 'task_name="$task_name"'
_POOL = 'pool="$pool"'
_NOT_SENT = rate("yivideo_deliveries_total", where='outcome!="sent"')


def _most(metric: str, by: str, where: str = "") -> str:
    """The largest of what several replicas tell alike."""
    return f"max by ({by}) ({metric}{{{where}}})" if where else f"max by ({by}) ({metric})"


OVERVIEW = Dashboard(
    "yivideo-overview", "YiVideo: overview", "What comes in, what waits, what comes out, and whether all parts are there.",
    (
        Row("Work", (
            Panel("Tasks submitted", (Query(rate("yivideo_tasks_submitted_total", "outcome"), "{{outcome}}"),), "ops"),
            Panel("Tasks ended", (Query(rate("yivideo_tasks_total", "outcome"), "{{outcome}}"),), "ops", stacked=True),
            Panel("Failures by code", (Query(rate("yivideo_tasks_total", "code", 'outcome="failed"'), "{{code}}"),), "ops"),
        )),
        Row("Queues", (
            Panel("Ready", (Query(_most("yivideo_queue_tasks", "node", 'state="ready"'), "{{node}}"),), stacked=True),
            Panel("Running", (Query(_most("yivideo_queue_tasks", "node", 'state="running"'), "{{node}}"),), stacked=True),
            Panel("Oldest wait", (Query(_most("yivideo_queue_oldest_wait_seconds", "node"), "{{node}}"),), "s"),
            Panel("Free slots", (
                Query(_most("yivideo_scheduler_node_slots", "node", 'state="free"'), "{{node}}"),
            ), about="As the schedulers see them; 0 while a node is scaled to zero."),
        )),
        Row("How fast", (
            Panel("From ready to claimed", median_and_tail("yivideo_task_queue_seconds"), "s"),
            Panel("From claimed to begun", median_and_tail("yivideo_task_pickup_seconds"), "s"),
            Panel("Requests", (Query(quantile(0.95, "yivideo_http_request_seconds", "route"), "{{route}}"),), "s",
                  about="95th percentile; event streams are left out."),
        )),
        Row("Requests and streams", (
            Panel("Answers", (Query(rate("yivideo_http_requests_total", "status"), "{{status}}"),), "ops", stacked=True),
            Panel("Calls that failed", (
                Query(rate("grpc_server_handled_total", "grpc_method, grpc_code", 'grpc_code!~"OK|CANCELLED"'),
                      "{{grpc_method}} {{grpc_code}}"),
            ), "ops"),
            Panel("Open streams", (
                Query("sum(yivideo_sse_connections)", "event streams"),
                Query("sum(yivideo_watchers)", "at schedulers"),
            )),
        )),
        Row("Processes", (
            Panel("Running", (Query("count by (process, version) (yivideo_build_info)", "{{process}} {{version}}"),)),
            Panel("Event loop late", (
                Query(quantile(0.99, "yivideo_event_loop_lag_seconds", "instance"), "{{instance}}"),
            ), "s", about="99th percentile. A loop that stands still answers nobody."),
            Panel("Attempts lost or taken over", (
                Query(rate("yivideo_attempts_lost_total", "node"), "lost {{node}}"),
                Query(rate("yivideo_leases_adopted_total"), "taken over from a dead scheduler"),
            ), "ops"),
        )),
    ),
)  # fmt: skip

TASK_TYPE = Dashboard(
    "yivideo-task-type", "YiVideo: one task type", "How attempts of one type fare, how long they run, and how its node keeps up.",
    (
        Row("$task_name", (
            Panel("Attempts", (Query(rate("yivideo_attempts_total", "outcome", _TASK), "{{outcome}}"),), "ops", stacked=True),
            Panel("Run", median_and_tail("yivideo_task_run_seconds", where=_TASK), "s"),
            Panel("Speed", median_and_tail("yivideo_task_realtime_factor", where=_TASK), "none",
                  about="Seconds of work for a second of media: 0.1 is ten times faster than it plays."),
            Panel("Media worked through", (Query(rate("yivideo_task_media_seconds_total", where=_TASK), "s of media"),), "s"),
        )),
        Row("Node $node", (
            Panel("Queue", (Query(_most("yivideo_queue_tasks", "state", _NODE), "{{state}}"),)),
            Panel("Oldest wait", (Query(_most("yivideo_queue_oldest_wait_seconds", "node", _NODE), "{{node}}"),), "s"),
            Panel("Wait until claimed", median_and_tail("yivideo_task_queue_seconds", where=_NODE), "s"),
            Panel("Attempts by outcome", (
                Query(rate("yivideo_attempt_seconds_count", "outcome", _NODE), "{{outcome}}"),
            ), "ops", stacked=True),
        )),
        Row("Replicas of $node", (
            Panel("Slots", (
                Query(f"sum(yivideo_node_slots{{{_NODE}}})", "all"), Query(f"sum(yivideo_node_free_slots{{{_NODE}}})", "free"),
            )),
            Panel("Child processes", (Query("sum by (instance) (yivideo_node_children)", "{{instance}}"),)),
            Panel("Fetches", (Query(rate("yivideo_node_cache_lookups_total", "hit"), "in the cache: {{hit}}"),), "ops"),
            Panel("Task types refused", (Query(rate("yivideo_task_types_refused_total", "node"), "{{node}}"),), "ops"),
        )),
        Row("Engines, whoever runs them", (
            Panel("Hearing", (
                Query(quantile(0.5, "yivideo_asr_real_time_factor", "model, device"), "{{model}} on {{device}}"),
            ), "none", about="Median seconds of work for a second of speech; loading is not in it."),
            Panel("Words that were not believed", (
                Query(rate("yivideo_asr_dropped_words_total", "model"), "{{model}}"),
            ), "ops"),
            Panel("Calls to language models", (
                Query(rate("yivideo_llm_calls_total", "provider, outcome"), "{{provider}} {{outcome}}"),
            ), "ops", stacked=True),
            Panel("Tokens", (
                Query(rate("yivideo_llm_tokens_total", "provider, direction"), "{{provider}} {{direction}}"),
            ), "ops"),
        )),
    ),
    (
        Variable("task_name", "yivideo_attempts_total", "task_name"),
        Variable("node", "yivideo_queue_tasks", "node"),
    ),
)  # fmt: skip

GPU = Dashboard(
    "yivideo-gpu", "YiVideo: GPUs", "Who holds devices, who waits, and whether leases end as they should.",
    (
        Row("Pool $pool", (
            Panel("Leases", (Query(_most("yivideo_gpu_lease_held", "state", _POOL), "{{state}}"),), stacked=True),
            Panel("Waiters", (Query(_most("yivideo_gpu_lease_waiters", "pool", _POOL), "{{pool}}"),)),
            Panel("Wait until granted", median_and_tail("yivideo_gpu_lease_wait_seconds", where=_POOL), "s"),
            Panel("Oldest lease", (Query(_most("yivideo_gpu_lease_age_seconds", "pool", _POOL), "{{pool}}"),), "s"),
        )),
        Row("Devices", (
            Panel("Memory", (
                Query(_most("yivideo_gpu_lease_memory_mib", "device, kind", _POOL), "{{device}} {{kind}}"),
            ), "decmbytes"),
            Panel("Held for", median_and_tail("yivideo_gpu_lease_hold_seconds"), "s"),
            Panel("Requests", (
                Query(f"max by (outcome) (increase(yivideo_gpu_lease_outcomes{{{_POOL}}}[$__rate_interval]))", "{{outcome}}"),
            )),
            Panel("Refusals", (Query(rate("yivideo_gpu_lease_refusals_total", "code", _POOL), "{{code}}"),), "ops"),
        )),
        Row("Faults", (
            Panel("Endings", (
                Query(f"max by (reason) (increase(yivideo_gpu_lease_endings{{{_POOL}}}[$__rate_interval]))", "{{reason}}"),
            )),
            Panel("Taken from holders", (Query(rate("yivideo_gpu_lease_revocations_total", "reason"), "{{reason}}"),), "ops"),
            Panel("Warned, asked to stop", (Query(rate("yivideo_gpu_lease_timeouts_total", "level"), "{{level}}"),), "ops"),
            Panel("Lost by nodes", (Query(rate("yivideo_node_gpu_losses_total", "reason"), "{{reason}}"),), "ops"),
        )),
        Row("Lock service", (
            Panel("Left of leases at a beat", (Query(quantile(0.05, "yivideo_gpu_lease_renew_slack_seconds"), "p5"),), "s"),
            Panel("Beats", (Query(rate("yivideo_gpu_lease_renewals_total", "result"), "{{result}}"),), "ops"),
            Panel("Script round trip", median_and_tail("yivideo_gpu_lease_script_seconds"), "s"),
            Panel("Reclaiming", (
                Query("max(yivideo_gpu_lease_recovering)", "nothing is granted"),
                Query(rate("yivideo_gpu_lease_recoveries_total"), "restarts of the store"),
            )),
        )),
        Row("Models", (
            Panel("Warm models", (Query("sum(yivideo_node_warm_models)", "warm"), Query("sum(yivideo_node_gpu_leases)", "leases"))),
            Panel("Starts", (Query(rate("yivideo_node_warm_starts_total", "hit"), "warm: {{hit}}"),), "ops"),
            Panel("Load", median_and_tail("yivideo_node_model_load_seconds", "model"), "s"),
            Panel("Call", median_and_tail("yivideo_node_model_run_seconds", "model"), "s"),
        )),
    ),
    (Variable("pool", "yivideo_gpu_lease_held", "pool"),),
)  # fmt: skip

CALLBACKS = Dashboard(
    "yivideo-callbacks", "YiVideo: callbacks", "Whether clients hear of their tasks.",
    (
        Row("Deliveries", (
            Panel("Attempts", (Query(rate("yivideo_deliveries_total", "outcome"), "{{outcome}}"),), "ops", stacked=True,
                  about="retried: another attempt follows by the schedule; failed: that was the last one."),
            Panel("Share that was not accepted", (
                Query(f"{_NOT_SENT} / {rate('yivideo_deliveries_total')}", "not accepted"),
            ), "percentunit"),
            Panel("Taken late", median_and_tail("yivideo_outbox_age_seconds"), "s",
                  about="How long after they were due; the host's pause while it keeps failing is not in it."),
        )),
        Row("Given up", (
            Panel("Last hour", (Query('sum(increase(yivideo_deliveries_total{outcome="failed"}[1h]))', "given up"),), kind="stat"),
            Panel("Addresses refused, last hour", (
                Query('sum(increase(yivideo_deliveries_total{outcome="invalid_url"}[1h]))', "refused"),
            ), kind="stat"),
        )),
    ),
)  # fmt: skip

STORE = Dashboard(
    "yivideo-store", "YiVideo: store", "Files: what comes in and goes out, and how much room is left.",
    (
        Row("Store", (
            Panel("Answers", (Query("min(yivideo_filestore_store_up)", "up"),), kind="stat"),
            Panel("Stored", (
                Query("max(yivideo_filestore_stored_bytes)", "stored"), Query("max(yivideo_filestore_quota_bytes)", "quota"),
                Query("min(yivideo_filestore_free_bytes)", "free on the disk"),
            ), "bytes"),
            Panel("Files", (Query("max(yivideo_filestore_stored_files)", "files"),)),
        )),
        Row("Transfers", (
            Panel("Through the filestore", (
                Query(rate("yivideo_filestore_received_bytes_total"), "in"),
                Query(rate("yivideo_filestore_sent_bytes_total"), "out"),
            ), "Bps"),
            Panel("Through the gateway", (Query(rate("yivideo_http_file_bytes_total", "direction"), "{{direction}}"),), "Bps"),
            Panel("Under way", (Query("sum by (direction) (yivideo_filestore_transfers)", "{{direction}}"),)),
            Panel("Refused", (Query(rate("yivideo_filestore_refused_transfers_total"), "too many at once"),), "ops"),
        )),
        Row("Around it", (
            Panel("Media kept by nodes", (Query("sum by (instance) (yivideo_node_cache_bytes)", "{{instance}}"),), "bytes"),
            Panel("Abandoned uploads removed", (Query(rate("yivideo_filestore_cleaned_uploads_total"), "removed"),), "ops"),
        )),
    ),
)  # fmt: skip

REDIS = Dashboard(
    "yivideo-redis", "YiVideo: Redis", "The stores that everything rests on, as the processes that use them see them.",
    (
        Row("Stores", (
            Panel("Answers", (Query(_most("yivideo_redis_up", "store"), "{{store}}"),), kind="stat"),
            Panel("Memory", (
                Query(_most("yivideo_redis_memory_bytes", "store"), "{{store}}"),
                Query(_most("yivideo_redis_memory_limit_bytes", "store"), "{{store}} limit"),
            ), "bytes"),
            Panel("Commands", (
                Query("max by (store) (rate(yivideo_redis_commands[$__rate_interval]))", "{{store}}"),
            ), "ops"),
            Panel("Connections", (Query(_most("yivideo_redis_clients", "store"), "{{store}}"),)),
        )),
        Row("Safety", (
            Panel("Append-only file", (Query(_most("yivideo_redis_aof_bytes", "store"), "{{store}}"),), "bytes"),
            Panel("It could be written", (Query("min by (store) (yivideo_redis_aof_ok)", "{{store}}"),), kind="stat"),
            Panel("Replicas", (Query(_most("yivideo_redis_replicas", "store"), "{{store}}"),)),
            Panel("Since its start", (Query(_most("yivideo_redis_uptime_seconds", "store"), "{{store}}"),), "s"),
            Panel("Keys thrown away", (Query(_most("yivideo_redis_evicted_keys", "store"), "{{store}}"),)),
        )),
        Row("What it means for tasks", (
            Panel("Left of leases at renewal", (Query(quantile(0.05, "yivideo_lease_margin_seconds"), "p5"),), "s",
                  about="Near 0: attempts are about to be taken for abandoned."),
            Panel("Lapsed leases found late", median_and_tail("yivideo_sweep_lag_seconds"), "s"),
            Panel("Lapsed GPU leases taken late", median_and_tail("yivideo_gpu_lease_sweep_lag_seconds"), "s"),
        )),
    ),
)  # fmt: skip

DASHBOARDS = (OVERVIEW, TASK_TYPE, GPU, CALLBACKS, STORE, REDIS)
