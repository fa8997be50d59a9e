"""Limits of requests: their rate per client, their body, and the tries to sign in."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from echoseg.web.refusal import Refusal

REQUESTS_PER_S, MAX_BURST = 300.0, 3000.0
_MAX_CLIENTS = 10_000
_PIECE_TIMEOUT_S = 30.0
_FREE_TRIES, _MAX_ACCOUNT_WAIT_S, _MAX_ADDRESS_WAIT_S, _FORGET_S = 5, 60.0, 900.0, 3600.0
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

    def check(self, account: str, address: str) -> None:
        """Check that another try may be made.

        Raises:
            Refusal: With 429, if it must wait.
        """
        wait_s = max(self._wait_s(key, limit_s) for key, limit_s in _keys(account, address))
        if wait_s > 0:
            raise Refusal(429, f"Too many failed tries; wait {wait_s:.0f} s and try again.", wait_s)

    def fail(self, account: str, address: str) -> None:
        """Count a failed try; those of an hour ago are forgotten."""
        now_s = self._clock()
        for key, _ in _keys(account, address):
            number, then_s = self._failures.pop(key, (0, now_s))
            self._failures[key] = (1 if now_s - then_s > _FORGET_S else number + 1, now_s)
        while len(self._failures) > _MAX_CLIENTS:
            self._failures.popitem(last=False)

    def succeed(self, account: str, address: str) -> None:
        """Forget the failures of an account; those of the address stay."""
        self._failures.pop(_keys(account, address)[0][0], None)

    def _wait_s(self, key: tuple[str, str], limit_s: float) -> float:
        number, then_s = self._failures.get(key, (0, 0.0))
        if number < _FREE_TRIES:
            return 0.0
        wait_s = min(limit_s, 2.0 ** min(number - _FREE_TRIES, 20))
        return max(0.0, then_s + wait_s - self._clock())


def _keys(account: str, address: str) -> tuple[tuple[tuple[str, str], float], ...]:
    name = account.strip().lower()[:64]
    return (("account", name), _MAX_ACCOUNT_WAIT_S), (("address", address), _MAX_ADDRESS_WAIT_S)


def limited_body(receive: Receive, content_length: str, max_bytes: int) -> Receive:
    """A body that is refused as soon as it is too long, or when the client stops sending it.

    Args:
        receive: The ASGI channel.
        content_length: The header, empty where there is none.
        max_bytes: Largest body.

    Raises:
        Refusal: With 413, if the header states more than `max_bytes`; later on, when more came, or
            with 408 when nothing came for 30 s.
    """
    too_long = Refusal(
        413, f"The request is larger than {max_bytes / 2**20:.3g} MiB, which is the limit here."
    )
    if content_length.isdecimal() and int(content_length) > max_bytes:
        raise too_long
    count, is_complete = 0, False

    async def limited() -> Any:
        nonlocal count, is_complete
        if is_complete:
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), _PIECE_TIMEOUT_S)
        except TimeoutError:
            raise Refusal(408, "The request came too slowly; try again.") from None
        count += len(message.get("body", b""))
        is_complete = not message.get("more_body", False)
        if count > max_bytes:
            raise too_long
        return message

    return limited
