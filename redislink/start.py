"""A process's start: it waits for a Redis that is on its way, and ends with a sentence for what waiting cannot mend."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import ResponseError

from redislink.refusal import Refused
from redislink.retry import TRANSIENT_ERRORS, in_words, retry
from runtime.errors import Unavailable
from runtime.settings import SettingsError


async def await_redis(ping: Callable[[], Awaitable[Any]], seconds: float, what: str, *, setting: str) -> None:
    """Wait until Redis answers. Raises SettingsError with the reason when it refuses us or does not come in time."""

    async def attempt() -> None:
        try:
            await ping()
        except Refused as error:
            raise _fault(setting, error) from None
        except TRANSIENT_ERRORS:
            raise
        except ResponseError as error:
            raise _fault(setting, error) from None

    try:
        await retry(attempt, seconds, what, setting=setting)
    except Unavailable as error:
        raise _fault(setting, error.__cause__ or error, f" (waited {seconds:g} s)") from None


def _fault(setting: str, error: BaseException, more: str = "") -> SettingsError:
    return SettingsError(f"settings: {setting}: {in_words(error)}{more}")
