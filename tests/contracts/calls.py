"""What every contract test asks of an answer: the status, and the details that a client reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from runtime import errors
from tests.contracts.descriptors import of_kind

CALL_SECONDS = 20.0


def documented(service: str, method: str) -> frozenset[str]:
    """The status names that the contract allows for an RPC, its service's included."""
    (rpc,) = [rpc for rpc in of_kind("rpc") if rpc.name == f"{service}.{method}"]
    return rpc.codes()


@contextmanager
def refused(status: str, reason: str | None = None, *, pointer: str | None = None) -> Iterator[None]:
    """Expect a call to be refused with that status, with the ErrorInfo reason, and at that field."""
    with pytest.raises(grpc.RpcError) as caught:
        yield
    info, fields = details_of(caught.value)
    assert caught.value.code().name == status, caught.value
    assert caught.value.details()
    assert info.reason in errors.class_by_code()
    if reason is not None:
        assert info.reason == reason
    if pointer is not None:
        assert pointer in fields, fields


def details_of(error: Any) -> tuple[error_details_pb2.ErrorInfo, list[str]]:
    """Unpack what the contract promises of every error: ErrorInfo of our domain, and the pointers of a bad request."""
    status = rpc_status.from_call(error)
    assert status is not None, f"no error details: {error}"
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    fields: list[str] = []
    for detail in status.details:
        if detail.Is(bad.DESCRIPTOR):
            detail.Unpack(bad)
            fields = [violation.field for violation in bad.field_violations]
        elif detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
    assert info.domain == errors.DOMAIN, f"no ErrorInfo of ours: {error}"
    assert info.metadata["request_id"]
    return info, fields


def answer(channel: grpc.Channel, service: Any, method: str, requests: Iterable[Message]) -> str:
    """Call an RPC by its descriptor with these requests; the name of the status it ends with.

    A server's stream is read up to its first message (it may never end). Every error's details are checked on the way.
    """
    rpc = service.methods_by_name[method]
    request_class, response_class = GetMessageClass(rpc.input_type), GetMessageClass(rpc.output_type)
    kind = f"{'stream' if rpc.client_streaming else 'unary'}_{'stream' if rpc.server_streaming else 'unary'}"
    make: Callable[..., Any] = getattr(channel, kind)
    call = make(
        f"/{service.full_name}/{method}",
        request_serializer=request_class.SerializeToString,
        response_deserializer=response_class.FromString,
    )
    sent = iter(requests) if rpc.client_streaming else next(iter(requests))
    try:
        given = call(sent, timeout=CALL_SECONDS)
        if rpc.server_streaming:
            next(given, None)
            given.cancel()
    except grpc.RpcError as error:
        details_of(error)
        return str(error.code().name)
    return "OK"


def services_of(channel: grpc.Channel) -> set[str]:
    """What reflection lists."""
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    (given,) = stub.ServerReflectionInfo(iter([request]), timeout=CALL_SECONDS)
    return {service.name for service in given.list_services_response.service}


def symbol_file(channel: grpc.Channel, symbol: str) -> bytes:
    """The contract's file descriptor, as reflection hands it to a client that has no stubs."""
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    (given,) = stub.ServerReflectionInfo(iter([request]), timeout=CALL_SECONDS)
    return bytes(given.file_descriptor_response.file_descriptor_proto[0])


def healthy(channel: grpc.Channel, service: str) -> bool:
    """What the health service says."""
    stub = health_pb2_grpc.HealthStub(channel)
    given = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=CALL_SECONDS)
    return bool(given.status == health_pb2.HealthCheckResponse.SERVING)
