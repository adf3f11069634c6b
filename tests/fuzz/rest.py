"""Sends what schemathesis makes of our OpenAPI description to the gateway: what fits it, and what does not."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections import Counter
from typing import Any

import requests
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable

from tests.fuzz.tally import Tally

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it imports parts of other packages that these are about to drop
    import schemathesis

_READ_BYTES = 65_536
_CALL_SECONDS = 20.0


class RestFuzzer:
    """Calls every operation of the description."""

    def __init__(self, url: str, run_seed: int, tally: Tally) -> None:
        self._url = url
        self._seed = run_seed
        self._tally = tally
        self._session = requests.Session()
        self.codes: Counter[str] = Counter()

    def run(self, count: int) -> None:
        """Send about so many requests, spread over the operations; half of them break the description."""
        document = self._session.get(f"{self._url}/openapi.json", timeout=_CALL_SECONDS).json()
        schema = schemathesis.openapi.from_dict(document)
        found = [result.ok() for result in schema.get_all_operations() if result.ok() is not None]
        goal = self._tally.requests + count
        share = max(1, count // (2 * len(found)) + 1)
        for round_number in range(20):
            for operation in found:
                for mode in schemathesis.GenerationMode:
                    left = goal - self._tally.requests
                    if left > 0:
                        self._operation(operation, mode, min(share, left), round_number)
        # Operations without parameters have few requests; what is left over goes to the others in further rounds.

    def _operation(self, operation: Any, mode: Any, examples: int, round_number: int) -> None:
        @seed(self._seed + round_number)
        @settings(
            max_examples=examples, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case: Any) -> None:
            self._send(case)

        with contextlib.suppress(Unsatisfiable), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            send()

    def _send(self, case: Any) -> None:
        request = case.as_transport_kwargs(base_url=self._url)
        name = f"{case.operation.method.upper()} {case.operation.path}"
        try:
            answer = self._session.request(
                **request, stream=True, timeout=(_CALL_SECONDS, 2.0), allow_redirects=False
            )
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidHeader, UnicodeError, ValueError):
            return  # the client's library does not send such a thing
        except requests.exceptions.ReadTimeout:
            self._tally.requests += 1
            self._tally.fault(name, "no answer", request)
            return
        self._tally.requests += 1
        self.codes[f"{name} {answer.status_code}"] += 1
        with answer, contextlib.suppress(requests.exceptions.RequestException):
            body = self._read(answer)
        if answer.status_code >= 500:
            self._tally.fault(f"{name} {answer.status_code}", body, request)
        if case.operation.path.startswith("/v1/tasks"):  # a heartbeat's answer names tasks that never were
            self._learn(body)

    @staticmethod
    def _read(answer: requests.Response) -> bytes:
        """The beginning of the body: streams of events have no end."""
        if "event-stream" in answer.headers.get("content-type", ""):
            return b""
        return next(answer.iter_content(_READ_BYTES), b"")

    def _learn(self, body: bytes) -> None:
        with contextlib.suppress(ValueError):
            found = json.loads(body)
            if isinstance(found, dict) and isinstance(found.get("task_id"), str) and "status" in found:
                self._tally.accepted.add(found["task_id"])
