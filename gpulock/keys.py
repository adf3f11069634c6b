"""Every Redis key of the lock service, with its reason. Scripts get them all, in the order of `Keys.all`.

All keys share one hash tag (in the prefix): a script that ends a lease touches records, deadlines and figures of all pools.

    meta          hash    logical time `now` and its correction `off` (µs), last fencing token `tok`, `seq`, `phase` open or
                          recover, `until` when a recovery ends, `epoch`, what the tripwire compares (`runid`, `replid`),
                          settings as the scripts read them `conf`, the devices they came with `devices`
    dev           hash    device -> its description (cmsgpack)
    used          hash    device -> MiB in leases
    quar          hash    device -> MiB of revoked leases whose memory is not known to be back
    req           hash    request -> its record (cmsgpack): waiting, granted, revoked, or ended a minute ago at most
    dl            zset    every deadline, by µs; a letter and the request: `w` wait limit, `a` a lost client's place,
                          `e` lease expiry, `1` warning, `2` soft, `3` hard timeout, `p` asked to stop, `f` quarantine
    gone          zset    ended requests by the time their record goes; not in `dl`, because nobody waits for it
    yield         zset    leases that give way, by since when
    ev            stream  what happened, for watchers; MAXLEN ~ 10000
    inbox         stream  what a replica must tell its clients and another one caused; MAXLEN ~ 10000
    hist          list    ended waits and leases, newest first
    stat          hash    `<pool>|<figure>` -> number; `|<figure>` for the installation
    replicas      zset    replica -> until when it counts as alive
    conf          hash    the settings as people gave them: `values` (JSON), `version`, `source`, `file`
  of each pool:
    q:POOL        zset    waiters by (100 - priority) * 1e12 + turn; member `<13 digits of seq>:<request>`: exact and in order
    bands:POOL    hash    priority -> waiters, when it was last served, turn that is being served
    turns:POOL    zset    `<priority>:<user>` -> that user's last turn, scored as in `q`
"""

from __future__ import annotations

from collections.abc import Sequence

_SHARED = (
    "meta", "dev", "used", "quar", "req", "dl", "gone", "yield", "ev", "inbox", "hist", "stat", "replicas",
)  # fmt: skip


class Keys:
    """Names of keys under one prefix."""

    def __init__(self, prefix: str, pools: Sequence[str]) -> None:
        self.prefix = prefix
        self.pools = tuple(pools)
        self.all = tuple(f"{prefix}{name}" for name in _SHARED) + tuple(
            f"{prefix}{kind}:{pool}" for pool in pools for kind in ("q", "bands", "turns")
        )
        """What every script is given: it follows an id that it finds in one key into another."""
        self.events = f"{prefix}ev"
        self.inbox = f"{prefix}inbox"
        self.history = f"{prefix}hist"
        self.statistics = f"{prefix}stat"
        self.configuration = f"{prefix}conf"
