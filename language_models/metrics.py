"""Prometheus figures of calls to language models. Never labelled by user: those are without bound."""

from __future__ import annotations

from prometheus_client import Counter

from language_models.chat import ChatAnswer

REQUESTS = Counter(
    "yivideo_llm_calls_total", "Calls to language models, by how they ended.", ["provider", "outcome"]
)
TOKENS = Counter(
    "yivideo_llm_tokens_total", "Tokens sent to and got from language models.", ["provider", "direction"]
)
COST = Counter(
    "yivideo_llm_cost_total",
    "What answers cost by the configured prices, in the configured currency.",
    ["provider"],
)


def count_answer(provider: str, answer: ChatAnswer) -> None:
    """Count a call that was answered."""
    REQUESTS.labels(provider, "answered").inc()
    TOKENS.labels(provider, "in").inc(answer.input_tokens)
    TOKENS.labels(provider, "out").inc(answer.output_tokens)
    COST.labels(provider).inc(answer.cost)


def count_failure(provider: str, code: str) -> None:
    """Count a call that came to nothing, by its fault."""
    REQUESTS.labels(provider, code.lower()).inc()
