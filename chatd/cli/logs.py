"""How chatd writes about itself: one line per record on standard error, for people or for machines.

A line is one line whatever a client sent: line ends and other control characters are escaped, so that nobody can write
a record of their own into the log (ASVS 16.4.1).
"""

from __future__ import annotations

import datetime
import logging
import re
import sys
from typing import Any

import msgspec

from chatd.config import Settings

_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


def one_line(text: str) -> str:
    return _CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", text)


class TextLines(logging.Formatter):
    """`2026-01-31 12:00:00.123 WARNING chatd.store: what happened`, in UTC. A stack follows indented by a bar."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        line = f"{at} {record.levelname} {record.name}: {one_line(record.getMessage())}"
        if record.exc_info:
            stack = self.formatException(record.exc_info)
            line += "".join(f"\n  | {one_line(part)}" for part in stack.splitlines())
        return line


class JsonLines(logging.Formatter):
    """One JSON object a line: `at` (RFC 3339, UTC), `level`, `name`, `message` and, if there is one, `stack`."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        entry: dict[str, Any] = {
            "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "name": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["stack"] = self.formatException(record.exc_info)
        # Legal in JSON, and the end of a line to many tools.
        return re.sub(
            r"[\x7f\x85\u2028\u2029]", lambda match: f"\\u{ord(match.group()):04x}", msgspec.json.encode(entry).decode()
        )


def write_logs(settings: Settings) -> None:
    """From here on, log as the settings say. What libraries say about their own insides is left out below warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if settings.log_format == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("chatd").setLevel(settings.log_level.upper())
