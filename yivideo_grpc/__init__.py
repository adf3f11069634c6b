"""The client over gRPC: `GrpcClient`, with the methods, results and errors of `yivideo_client.AsyncClient`."""

from __future__ import annotations

from yivideo_grpc.client import GrpcClient

__all__ = ["GrpcClient"]
