"""GPU leases of a node: asked for as a block, shown while they wait, enforced on the processes that run under them.

`context.gpu()` (`use`) asks the replica's `lease_client`, which speaks over one `session` to the lock service, or to `local`
arbitration in this process, or to nobody on a node that is set to CPU. A `holding` knows until when a lease is good; `scope`
hold its processes; `interruption` ends the block when it is lost; the `guard` lets no old token back in; `warm` keeps models
loaded between tasks.
"""
