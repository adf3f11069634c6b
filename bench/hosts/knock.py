"""`python -m bench.hosts.knock tcp|call HOST PORT [AUTHORITY]`: whether somebody who should not gets in; prints `open` or `closed`.

`tcp`: whether a connection comes about at all. `call`: whether a gRPC server answers a caller that trusts its authority but shows
no certificate of its own.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_SECONDS = 2.0


def reaches(host: str, port: int) -> bool:
    """Whether a TCP connection is accepted."""
    try:
        with socket.create_connection((host, port), _SECONDS):
            return True
    except OSError:
        return False


def is_answered(address: str, authority: Path) -> bool:
    """Whether a call without a certificate is answered."""
    credentials = grpc.ssl_channel_credentials(root_certificates=authority.read_bytes())
    with grpc.secure_channel(address, credentials) as channel:
        try:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=_SECONDS)
        except grpc.RpcError:
            return False
        return True


if __name__ == "__main__":
    kind, to, at, *authority_file = sys.argv[1:]
    got_in = reaches(to, int(at)) if kind == "tcp" else is_answered(f"{to}:{at}", Path(authority_file[0]))
    print("open" if got_in else "closed")
