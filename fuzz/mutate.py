"""Mutations in pure Python, for machines without atheris and for the tests."""

import random
from collections.abc import Callable, Sequence

_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 2**15 - 1, 2**15, 2**16 - 1, 10**6, 10**9, 2**31 - 1,
            2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)  # fmt: skip
_WORDS = (b"-1", b"1e999", b"NaN", b"1e-320", b"9" * 400, b"null", b"{}", b"[]", b"true",
          b"[" * 3000, b'"', b"../a", b"/dev/zero", b"\0", b"\xff\xfe", b"\n", b",")  # fmt: skip


def _flip(content: bytearray, rng: random.Random) -> None:
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def _set_byte(content: bytearray, rng: random.Random) -> None:
    content[rng.randrange(len(content))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))


def _set_number(content: bytearray, rng: random.Random) -> None:
    size, at = rng.choice((2, 4, 8)), rng.randrange(len(content))
    number = rng.choice(_NUMBERS) % 256**size
    content[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))


def _set_word(content: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(content))
    content[at : at + rng.choice((0, 1, 3))] = rng.choice(_WORDS)


def _set_digits(content: bytearray, rng: random.Random) -> None:
    """Replace a number written in digits, as in JSON, CSV and headers of text."""
    places = [at for at, value in enumerate(content[:20_000]) if 48 <= value <= 57]
    if places:
        first = last = rng.choice(places)
        while last < len(content) and (48 <= content[last] <= 57 or content[last] == 46):
            last += 1
        content[first:last] = rng.choice((b"-1", b"0", b"1e9", b"1e999", b"2147483648", b"x"))


def _delete(content: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(content))
    del content[at : at + rng.randrange(1, 64)]


def _repeat(content: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(content))
    content[at:at] = content[at : at + rng.randrange(1, 256)] * rng.randrange(1, 4)


def _cut(content: bytearray, rng: random.Random) -> None:
    del content[rng.randrange(len(content)) :]


_STEPS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _flip, _set_byte, _set_number, _set_number, _set_word, _set_digits, _delete, _repeat,
    _cut,
)  # fmt: skip


def mutated(seeds: Sequence[bytes], number: int) -> bytes:
    """The input of a number: a seed, or the joint of two, changed at one to eight places."""
    rng = random.Random(number)
    content = bytearray(rng.choice(seeds))
    if rng.random() < 0.05:
        other = rng.choice(seeds)
        content[rng.randrange(len(content) + 1) :] = other[rng.randrange(len(other) + 1) :]
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5, 8))):
        if content:
            # headers are where the numbers are
            near = rng.random() < 0.5 and len(content) > 600
            part = content[:600] if near else content
            rest = content[600:] if near else b""
            rng.choice(_STEPS)(part, rng)
            content = part + rest
    return bytes(content)
