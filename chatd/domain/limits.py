"""How much of anything is allowed. Every limit carries its unit in its name; `config` lets an operator change them.

The values travel to the browser in the welcome frame, so that a page can say "3,990 of 4,000" before it sends.
"""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    message_characters_max: int = 4_000
    message_parts_max: int = 10
    name_characters_max: int = 120
    email_characters_max: int = 254  # RFC 5321 section 4.5.3.1.3: a path of 256 octets with its angle brackets
    cart_lines_max: int = 100
    cart_title_characters_max: int = 300
    url_characters_max: int = 2_000
    history_page_max: int = 50
    list_page_max: int = 50
    bulk_conversations_max: int = 200
    frame_bytes_max: int = 65_536
    commands_per_window_max: int = 20
    command_window_seconds: float = 10.0
    resume_events_max: int = 1_000
    heartbeat_seconds: float = 25.0
