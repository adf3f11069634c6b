"""The client against a real server: every trouble ends in an answer or in a fault that says what it is, within its bounds."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from language_models import Budget, ChatRequest, FaultCode, Message, ModelFault, OpenAiChat, choose
from language_models.settings import LlmSection
from runtime import context as ids
from runtime import spans
from runtime.egress import Egress
from tests.language_models.model_server import ModelServer, serving

QUESTION = ChatRequest((Message("user", "Say this."),))


class Calls:
    """A client whose pauses take no time and are written down."""

    def __init__(self, section: LlmSection, budget: Budget | None = None) -> None:
        self.pauses: list[float] = []
        provider = choose(section)
        self.egress = Egress(provider.policy(section.allow_addresses))
        self.chat = OpenAiChat(
            provider,
            self.egress,
            section,
            budget or Budget(0, 0),
            "anna",
            sleep=self._sleep,
            dice=lambda: 0.5,
        )

    async def _sleep(self, seconds: float) -> None:
        if seconds:
            self.pauses.append(seconds)
        await asyncio.sleep(0)

    async def __aenter__(self) -> Calls:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.egress.aclose()


async def fault_of(calls: Calls, request: ChatRequest = QUESTION) -> ModelFault:
    """The fault that a chat ends in."""
    with pytest.raises(ModelFault) as caught:
        await calls.chat.chat(request)
    return caught.value


async def test_an_answer_comes_in_pieces_with_its_tokens_and_cost(tmp_path: Path) -> None:
    """What was streamed is the whole answer; tokens are the server's, the cost follows from the prices, the key went along."""
    told: list[str] = []

    async def tell(piece: str) -> None:
        told.append(piece)

    async with serving() as server, Calls(server.section(tmp_path)) as calls:
        answer = await calls.chat.chat(QUESTION, tell)
    assert (answer.text, "".join(told), len(told)) == ("Say this.", "Say this.", 3)
    assert (answer.input_tokens, answer.output_tokens, answer.estimated) == (10, 9, False)
    assert answer.cost == pytest.approx((10 * 1.0 + 9 * 2.0) / 1e6)
    assert (server.keys, server.requests[0]["model"], answer.model) == (
        ["Bearer sk-secret"],
        "stub",
        "stub-1",
    )


async def test_a_chat_is_a_span_with_its_tokens_and_without_its_words(tmp_path: Path) -> None:
    """A trace shows which provider was asked and for how long; a failed chat has its code; no address, user or text is in it."""
    kept: list[spans.Span] = []

    class Keeps:
        def samples(self, trace_id: str) -> bool:
            return True

        def record(self, span: spans.Span) -> None:
            kept.append(span)

    async with serving() as server, Calls(server.section(tmp_path)) as calls:
        with spans.recording(Keeps()), ids.bound(trace=f"00-{'ab' * 16}-{'cd' * 8}-01"):
            await calls.chat.chat(QUESTION)
            server.trouble = ["401"]
            await fault_of(calls)
    answered, refused = kept
    assert answered.name == refused.name == f"chat {calls.chat.name}"
    assert answered.kind is spans.Kind.CLIENT and answered.parent_id == "cd" * 8
    assert answered.attributes == {
        "yivideo.model": "stub", "yivideo.requests": 1, "yivideo.input_tokens": 10, "yivideo.output_tokens": 9,
    }  # fmt: skip
    assert (answered.error, refused.error) == ("", FaultCode.MODEL_UNAUTHORIZED)
    for private in ("Say this.", "anna", "127.0.0.1", "sk-secret"):
        assert private not in str(kept)


async def test_a_server_that_cannot_stream_is_asked_for_the_whole(tmp_path: Path) -> None:
    """Answers that come at once are read as well, and tokens that nobody tells are estimated and said to be."""
    async with (
        serving(usage=False) as server,
        Calls(server.section(tmp_path, provider={"stream": False})) as calls,
    ):
        answer = await calls.chat.chat(QUESTION)
    assert (answer.text, answer.estimated, server.requests[0]["stream"]) == ("Say this.", True, False)


@pytest.mark.parametrize("trouble", ["429", "500", "503", "close", "unfinished", "not_json", "error_inside"])
async def test_what_may_pass_is_tried_again(tmp_path: Path, trouble: str) -> None:
    """After a passing trouble the same request is answered, after growing pauses; a listener is told that the answer begins
    anew.
    """
    told: list[str] = []

    async def tell(piece: str) -> None:
        told.append(piece)

    async with serving(trouble=[trouble, trouble]) as server, Calls(server.section(tmp_path)) as calls:
        answer = await calls.chat.chat(QUESTION, tell)
    assert (answer.text, answer.requests, len(server.requests)) == ("Say this.", 3, 3)
    assert calls.pauses == [0.375, 0.75]
    assert "".join(told[len(told) - told[::-1].index("") :]) == "Say this."


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        ("429", FaultCode.MODEL_RATE_LIMITED),
        ("500", FaultCode.MODEL_UNREACHABLE),
        ("close", FaultCode.MODEL_UNREACHABLE),
        ("not_json", FaultCode.ANSWER_UNREADABLE),
        ("endless_line", FaultCode.ANSWER_UNREADABLE),
        ("401", FaultCode.MODEL_UNAUTHORIZED),
        ("400", FaultCode.MODEL_REFUSED),
        ("404", FaultCode.MODEL_REFUSED),
        ("redirect", FaultCode.MODEL_REFUSED),
        ("gigabyte", FaultCode.ANSWER_TOO_LARGE),
    ],
)
async def test_lasting_trouble_is_a_fault_that_says_what_it_is(
    tmp_path: Path, trouble: str, code: FaultCode
) -> None:
    """A storm ends after a few attempts, a refusal after one; the fault names provider and model, and never the key."""
    async with serving(always=trouble) as server, Calls(server.section(tmp_path)) as calls:
        fault = await fault_of(calls)
    assert fault.code == code
    again = code in (FaultCode.MODEL_RATE_LIMITED, FaultCode.MODEL_UNREACHABLE, FaultCode.ANSWER_UNREADABLE)
    assert len(server.requests) == (3 if again else 1)
    assert "openai_compatible/stub" in fault.message and "sk-secret" not in fault.message


async def test_retry_after_is_obeyed_and_not_beyond_patience(tmp_path: Path) -> None:
    """The server's own pause is kept; one that is longer than a call may wait fails it at once."""
    async with serving(trouble=["429"], retry_after="7") as server, Calls(server.section(tmp_path)) as calls:
        await calls.chat.chat(QUESTION)
        assert calls.pauses == [7.125]
        server.trouble, server.retry_after = ["429"], "3600"
        assert (await fault_of(calls)).code == FaultCode.MODEL_RATE_LIMITED
    assert len(server.requests) == 3


@pytest.mark.parametrize("trouble", ["hang", "stall"])
async def test_silence_ends_in_a_timeout(tmp_path: Path, trouble: str) -> None:
    """A server that says nothing, from the beginning or in the middle, costs its time and no more."""
    provider = {"idle_seconds": 0.05}
    async with serving(always=trouble) as server, Calls(server.section(tmp_path, provider=provider)) as calls:
        request = ChatRequest(QUESTION.messages, timeout_seconds=0.2 if trouble == "hang" else 5)
        assert (await fault_of(calls, request)).code == FaultCode.MODEL_TIMEOUT


@pytest.mark.parametrize("trouble", ["hang", "stall"])
async def test_cancelling_cuts_the_request(tmp_path: Path, trouble: str) -> None:
    """The server sees its client leave when the caller is cancelled."""
    async with serving(always=trouble) as server, Calls(server.section(tmp_path)) as calls:
        asked = asyncio.create_task(calls.chat.chat(QUESTION))
        await server.begun.wait()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        async with asyncio.timeout(1):
            await server.cut.wait()


async def test_an_answer_has_at_most_so_many_bytes(tmp_path: Path) -> None:
    """What is read of an endless answer is bounded by the setting."""
    async with serving(always="gigabyte") as server:
        async with Calls(server.section(tmp_path, max_answer_bytes=200_000)) as calls:
            assert (await fault_of(calls)).code == FaultCode.ANSWER_TOO_LARGE
        async with asyncio.timeout(5):
            await server.cut.wait()


async def test_an_answer_that_was_cut_says_so(tmp_path: Path) -> None:
    """An answer that ran into `max_tokens` is given with that reason, for the caller to judge."""
    async with serving(always="length") as server, Calls(server.section(tmp_path)) as calls:
        assert (await calls.chat.chat(QUESTION)).finish_reason == "length"


async def test_names_that_lead_inside_are_not_called(tmp_path: Path) -> None:
    """A provider's host name that resolves to an address of this machine is refused, unless the operator lets it."""
    async with serving() as server:
        port = server.base.split(":")[-1].split("/")[0]
        named = {"api_base_url": f"http://localhost.localdomain:{port}/v1"}
        async with Calls(server.section(tmp_path, provider=named)) as calls:
            fault = await fault_of(calls)
    assert fault.code in (FaultCode.FAILED_PRECONDITION, FaultCode.MODEL_UNREACHABLE)
    assert not server.requests


async def test_tokens_of_a_day_are_bounded_for_each_user(tmp_path: Path) -> None:
    """A user who has used the day's tokens is refused before anything is sent; another user is not."""
    budget = Budget(0, 30, clock=lambda: 0.0)
    async with serving() as server, Calls(server.section(tmp_path), budget) as calls:
        await calls.chat.chat(QUESTION)
        await calls.chat.chat(QUESTION) if budget.tokens_used("anna") + 3 <= 30 else None
        assert (await fault_of(calls)).code == FaultCode.BUDGET_EXCEEDED
        calls.chat.user = "ben"
        await calls.chat.chat(QUESTION)


def clock_of(instants: list[float]) -> Callable[[], float]:
    """A clock that a test sets."""
    return lambda: instants[-1]


def test_requests_of_a_minute_wait_their_turn() -> None:
    """So many a minute go at once; the next waits until the first is a minute old; one that would wait too long is refused."""
    now = [0.0]
    budget = Budget(2, 0, clock=clock_of(now))
    assert [budget.book_request("anna", 300) for _ in range(5)] == [0, 0, 60, 60, 120]
    assert budget.book_request("ben", 300) == 0
    with pytest.raises(ModelFault) as caught:
        budget.book_request("anna", 30)
    assert caught.value.code == FaultCode.BUDGET_EXCEEDED
    now.append(181.0)
    assert budget.book_request("anna", 30) == 0


def test_tokens_are_forgotten_after_a_day() -> None:
    """What was used counts for 24 hours, to the hour."""
    now = [0.0]
    budget = Budget(0, 100, clock=clock_of(now))
    for hour in range(4):
        now.append(hour * 3600.0)
        budget.spend_tokens("anna", 25)
    with pytest.raises(ModelFault):
        budget.check_tokens("anna", 1)
    now.append(24 * 3600.0)
    assert budget.tokens_used("anna") == 75
    budget.check_tokens("anna", 25)


def test_what_nobody_configured_is_told_by_setting() -> None:
    """Without a provider, or with half of one, the fault names the settings to make."""
    with pytest.raises(ModelFault) as nothing:
        choose(LlmSection())
    assert nothing.value.code == FaultCode.FAILED_PRECONDITION
    assert "YIVIDEO_LLM__DEEPSEEK__API_KEY_FILE" in nothing.value.message
    for name, words in {
        "gemini": ["API_KEY_FILE"],
        "openai_compatible": ["API_BASE_URL", "MODEL"],
        "ollama": ["MODEL"],
    }.items():
        with pytest.raises(ModelFault) as caught:
            choose(LlmSection(), name)
        assert all(f"YIVIDEO_LLM__{name.upper()}__{word}" in caught.value.message for word in words)


def test_a_key_file_is_read_at_every_call_and_checked(tmp_path: Path) -> None:
    """A new key counts at once; a file that is gone, empty or no key is told by its setting and without its content."""
    key = tmp_path / "key"
    section = LlmSection.model_validate({"deepseek": {"api_key_file": str(key)}})
    for content in (None, "", "two words", "ключ"):
        if content is not None:
            key.write_text(content)
        with pytest.raises(ModelFault) as caught:
            choose(section)
        assert "YIVIDEO_LLM__DEEPSEEK__API_KEY_FILE" in caught.value.message
        assert not content or content not in caught.value.message
    for content in ("sk-1\n", "sk-2"):
        key.write_text(content)
        assert choose(section).key == content.strip()
        assert content.strip() not in repr(choose(section))


def test_the_default_is_the_first_that_lacks_nothing(tmp_path: Path) -> None:
    """`auto` takes what is configured, in the order of the names; a named default is taken or missed, never passed over."""
    section = LlmSection.model_validate({"ollama": {"model": "qwen"}})
    assert choose(section).name == "ollama"
    assert choose(section).url == "http://127.0.0.1:11434/v1/chat/completions"
    named = section.model_copy(update={"default_provider": "zhipu"})
    with pytest.raises(ModelFault):
        choose(named)
    assert choose(named, "ollama", "llama").model == "llama"


def body_of(server: ModelServer) -> dict[str, Any]:
    """The last request's body."""
    return server.requests[-1]


async def test_json_is_asked_for_as_the_server_understands(tmp_path: Path) -> None:
    """`answer_format` decides between a schema, any object, and words alone."""
    schema = {"type": "object"}
    kinds: dict[str, Any] = {}
    for kind in ("schema", "object", "text"):
        async with (
            serving() as server,
            Calls(server.section(tmp_path, provider={"answer_format": kind})) as calls,
        ):
            await calls.chat.chat(ChatRequest(QUESTION.messages, schema=schema, max_tokens=9))
            kinds[kind] = body_of(server).get("response_format")
            assert body_of(server)["max_tokens"] == 9
    assert kinds["object"] == {"type": "json_object"}
    assert kinds["schema"]["json_schema"]["schema"] == schema
    assert kinds["text"] is None


def test_pauses_grow_and_are_spread() -> None:
    """Each pause is at least half of its size and never beyond twenty seconds; asked for pauses are never shortened."""
    from language_models.retrying import pause_seconds

    for attempt, share in itertools.product(range(1, 12), (0.0, 0.3, 1.0)):
        size = min(20.0, 0.5 * 2 ** (attempt - 1))
        assert size / 2 <= pause_seconds(attempt, share, None) <= size
        assert 5.0 <= pause_seconds(attempt, share, 5.0) <= 5.25
