"""Parts of a multipart/related message (RFC 2387, PS3.18 8.6.1), one by one as bytes come."""

from collections.abc import Iterator
from email.message import Message

from echoseg.errors import FormatError, TooLargeError


class PartReader:
    """Takes a message piece by piece and gives its parts.

    Args:
        content_type: The message's header Content-Type.
        max_part_bytes: Size of the largest part.

    Raises:
        FormatError: If the header names no multipart/related with a boundary.
    """

    def __init__(self, content_type: str, max_part_bytes: int) -> None:
        from python_multipart.multipart import MultipartParser

        header = Message()
        header["Content-Type"] = content_type
        boundary = header.get_boundary()
        if header.get_content_type() != "multipart/related" or not boundary:
            raise FormatError("Content-Type must be multipart/related with a boundary")
        self._max_part_bytes = max_part_bytes
        self._part = bytearray()
        self._whole: list[bytearray] = []
        self.is_complete = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_part_data": self._add,
                    "on_part_end": lambda: self._whole.append(self._part),
                    "on_end": self._end,
                },
            )
        except ValueError as error:
            raise FormatError("the boundary of the message cannot be used") from error

    def feed(self, piece: bytes) -> Iterator[bytearray]:
        """Take a piece; yield the parts that it completes.

        Raises:
            FormatError: If the message is not multipart.
            TooLargeError: If a part is too large.
        """
        from python_multipart.exceptions import MultipartParseError

        try:
            self._parser.write(piece)
        except MultipartParseError as error:
            raise FormatError("the body is not a multipart message") from error
        whole, self._whole = self._whole, []
        yield from whole

    def _begin(self) -> None:
        self._part = bytearray()

    def _add(self, data: bytes, start: int, end: int) -> None:
        if len(self._part) + end - start > self._max_part_bytes:
            raise TooLargeError(f"a part has more than {self._max_part_bytes} bytes")
        self._part += data[start:end]

    def _end(self) -> None:
        self.is_complete = True
