"""Why a socket is closed. 4000 to 4499 mean "come back and resume", 4500 to 4999 mean "do not".

Private codes live in the range that RFC 6455 section 7.4.2 leaves to applications; those below 4000 are the RFC's own
(section 7.4.1) and speak about broken frames only.
"""

from __future__ import annotations

from enum import IntEnum


class CloseCode(IntEnum):
    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_TEXT = 1007
    FRAME_TOO_LARGE = 1009
    INTERNAL_ERROR = 1011

    DRAINING = 4000
    SLOW_CONSUMER = 4001
    SILENT = 4002
    HELLO_TIMEOUT = 4003
    TRY_LATER = 4004

    MALFORMED = 4500
    UNSUPPORTED_VERSION = 4501
    NOT_AUTHENTICATED = 4502
    SESSION_ENDED = 4503
    FLOODING = 4504

    @property
    def come_back(self) -> bool:
        """Whether a client that sees this code is meant to reconnect."""
        return self < 4500
