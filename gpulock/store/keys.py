"""Every Redis key of the lock service, with its reason. Scripts get them all, in the order of `Keys.all`.

All keys share one hash tag (in the prefix): a script that ends a lease touches records, deadlines and figures of all pools. But for
`conf`, their names have the number of this layout, so that a version with another one finds an empty store: its leases are
reclaimed as after a loss, and none is misread.

    meta          hash    what every script reads and many write, a field (cmsgpack) for what changes together:
                          `state` (logical time `now` and its correction `off` in µs, last fencing token `tok`, `seq`, `phase` open
                          or recover, `open_at` when a recovery ends, `epoch`, `positions_us` when positions were last announced),
                          `devices` in order, `taken` (device -> MiB in leases, MiB of revoked leases whose memory is not known to
                          be back), `bands:POOL` (priority -> waiters, when it was last served, turn that is being served),
                          `figures:POOL` (figure -> number since the store was made), `settings` as the scripts read them; and
                          what the tripwire compares (`runid`, `replid`), and the devices as they were brought (`brought`)
    req           hash    request -> its record (cmsgpack): waiting, granted, revoked, or ended a minute ago at most
    dl            zset    a letter and the request, by the first of its deadlines in µs: `w` of a waiter (its wait, its lost
                          client's place), `l` of a lease (expiry, graded timeouts, a request to stop, quarantine)
    gone          zset    ended requests by the time their record goes; not in `dl`, because nobody waits for it
    yield         zset    leases that give way, by since when
    ev            stream  what happened, for watchers (`m`: JSON); MAXLEN ~ 10000
    inbox         stream  notices for all replicas (`m`: JSON): positions have changed, settings have; MAXLEN ~ 10000
    inbox:REPLICA stream  what a replica must tell its clients and another one caused (`m`: JSON); MAXLEN ~ 10000; not among the
                          keys that a script is given: replicas come and go, and a dead one's goes a day later
    hist          list    ended waits and leases, newest first (cmsgpack: how and when it ended, record)
    stat          hash    `|<figure>` -> number, of the installation: what changes seldom
    replicas      zset    replica -> until when it counts as alive
    conf          hash    the settings as people gave them: `values` (JSON), `version`, `source`, `file`
  of each pool:
    q:POOL        zset    waiters by (100 - priority) * 1e12 + turn; member `<13 digits of seq>:<request>`: exact and in order
    turns:POOL    zset    `<priority>:<user>` -> that user's last turn, scored as in `q`
"""

from __future__ import annotations

from collections.abc import Sequence

LAYOUT = 2
"""Number of the layout that the keys below have; it changes with what is in them."""

_SHARED = ("meta", "req", "dl", "gone", "yield", "ev", "inbox", "hist", "stat", "replicas")


class Keys:
    """Names of keys under one prefix."""

    def __init__(self, prefix: str, pools: Sequence[str]) -> None:
        self.pools = tuple(pools)
        own = f"{prefix}{LAYOUT}:"
        self.all = tuple(f"{own}{name}" for name in _SHARED) + tuple(
            f"{own}{kind}:{pool}" for pool in pools for kind in ("q", "turns")
        )
        """What every script is given: it follows an id that it finds in one key into another."""
        self.events = f"{own}ev"
        self.notices = f"{own}inbox"
        self.configuration = f"{prefix}conf"

    def inbox(self, replica: str) -> str:
        """Return the stream of what a replica must tell its clients."""
        return f"{self.notices}:{replica}"
