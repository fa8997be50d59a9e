"""Limits of requests: their rate per client, their body, and the tries to sign in."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from echoseg.web.refusal import Refusal

REQUESTS_PER_S, MAX_BURST = 300.0, 3000.0
_MAX_CLIENTS = 10_000
_PIECE_TIMEOUT_S, _BODY_TIMEOUT_S, _MIN_BYTES_PER_S = 30.0, 60.0, 10_000
_TRIES = {"account": (5, 60.0), "address": (20, 900.0)}
"""Failures without a wait, and the longest wait in s: anyone can make an account wait."""
_FORGET_S = 3600.0
Receive = Callable[[], Awaitable[Any]]


class RateLimit:
    """Requests per client: a token bucket each, of the newest clients.

    Args:
        per_s: Requests per second that may go on and on.
        burst: Requests that may come at once.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        per_s: float = REQUESTS_PER_S,
        burst: float = MAX_BURST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> None:
        """Count a request of a client.

        Raises:
            Refusal: With 429, if it sends too many.
        """
        now_s = self._clock()
        left, then_s = self._left.pop(client, (self._burst, now_s))
        left = min(self._burst, left + (now_s - then_s) * self._per_s)
        self._left[client] = (max(0.0, left - 1), now_s)
        if len(self._left) > _MAX_CLIENTS:
            self._left.popitem(last=False)
        if left < 1:
            raise Refusal(429, "Too many requests; wait a second and try again.", 1.0)


class SignInLimit:
    """Tries to sign in: after some failures the wait doubles, per account and per address.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def begin(self, account: str, address: str) -> None:
        """Count a try as failed until it succeeds, so that tries at one time count too.

        Raises:
            Refusal: With 429, if it must wait.
        """
        keys = _keys(account, address)
        wait_s = max(self._wait_s(key) for key in keys)
        if wait_s > 0:
            text = f"Too many failed tries; wait {math.ceil(wait_s)} s and try again."
            raise Refusal(429, text, math.ceil(wait_s))
        now_s = self._clock()
        for key in keys:
            number, then_s = self._failures.pop(key, (0, now_s))
            self._failures[key] = (1 if now_s - then_s > _FORGET_S else number + 1, now_s)
        while len(self._failures) > _MAX_CLIENTS:
            self._failures.popitem(last=False)

    def succeed(self, account: str, address: str) -> None:
        """Forget the failures of an account; those of the address stay, but for this try."""
        of_account, of_address = _keys(account, address)
        self._failures.pop(of_account, None)
        number, then_s = self._failures.get(of_address, (1, self._clock()))
        self._failures[of_address] = (number - 1, then_s)

    def _wait_s(self, key: tuple[str, str]) -> float:
        number, then_s = self._failures.get(key, (0, 0.0))
        free_tries, max_wait_s = _TRIES[key[0]]
        if number < free_tries:
            return 0.0
        wait_s = min(max_wait_s, 2.0 ** min(number - free_tries, 20))
        return max(0.0, then_s + wait_s - self._clock())


def _keys(account: str, address: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("account", account.strip().lower()[:64]), ("address", address)


def limited_body(receive: Receive, content_length: str, max_bytes: int) -> Receive:
    """A body that is refused as soon as it is too long, or when the client stops sending it.

    Args:
        receive: The ASGI channel.
        content_length: The header, empty where there is none.
        max_bytes: Largest body.

    Raises:
        Refusal: With 413, if the header states more than `max_bytes`; later on, when more came, or
            with 408 when nothing came for 30 s, or after a minute less than 10 kB/s.
    """
    too_long = Refusal(
        413, f"The request is larger than {max_bytes / 2**20:.3g} MiB, which is the limit here."
    )
    if content_length.isdecimal() and int(content_length) > max_bytes:
        raise too_long
    count, is_complete, start_s = 0, False, time.monotonic()

    async def limited() -> Any:
        nonlocal count, is_complete
        if is_complete:
            return await receive()
        end_s = start_s + _BODY_TIMEOUT_S + count / _MIN_BYTES_PER_S
        try:
            left_s = min(_PIECE_TIMEOUT_S, end_s - time.monotonic())
            message = await asyncio.wait_for(receive(), left_s)
        except TimeoutError:
            raise Refusal(408, "The request came too slowly; try again.") from None
        count += len(message.get("body", b""))
        is_complete = not message.get("more_body", False)
        if count > max_bytes:
            raise too_long
        return message

    return limited
