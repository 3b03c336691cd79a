"""Every refusal chatd knows, in one closed list.

    ChatError
    |-- InvalidInput            the words of a request are off; fix them and send again
    |   |-- MalformedFrame      not a frame of this protocol (repeated: the connection is closed)
    |   |-- TooLarge            a bound on size or number was passed
    |   `-- UnknownCursor       a place in a list or history that does not exist
    |-- NotAuthenticated        no, wrong or expired credentials
    |-- NotPermitted            known, but not allowed to do this
    |-- NotFound                nothing there for this actor (also: there, but of somebody else)
    |-- Conflict                the command does not fit the state of things
    |-- TooFast                 a rate was passed; carries when to try again
    `-- Temporary               chatd cannot do it now; nothing was changed, trying again is right
        |-- StoreUnavailable    disk full, read-only, locked or broken
        `-- Draining            this node is going away

Each class fixes a machine code and an HTTP status. The sentence is made of facts, and the facts travel as fields, so
that an interface can say the same in another language. Nothing internal (paths, statements, stack traces) is ever in a
sentence.
"""

from __future__ import annotations

from typing import Any, ClassVar


class ChatError(Exception):
    """A command, query or request that is refused. `facts` are JSON values that the sentence was made of."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    temporary: ClassVar[bool] = False

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts


class InvalidInput(ChatError):
    code = "invalid_input"
    status = 422


class MalformedFrame(InvalidInput):
    code = "malformed_frame"
    status = 400


class TooLarge(InvalidInput):
    code = "too_large"
    status = 413


class UnknownCursor(InvalidInput):
    code = "unknown_cursor"


class NotAuthenticated(ChatError):
    code = "not_authenticated"
    status = 401


class NotPermitted(ChatError):
    code = "not_permitted"
    status = 403


class NotFound(ChatError):
    code = "not_found"
    status = 404


class Conflict(ChatError):
    code = "conflict"
    status = 409


class TooFast(ChatError):
    """`retry_after_ms` says when the same request will be taken."""

    code = "too_fast"
    status = 429
    temporary = True

    def __init__(self, message: str, *, retry_after_ms: int, **facts: Any) -> None:
        super().__init__(message, retry_after_ms=retry_after_ms, **facts)
        self.retry_after_ms = retry_after_ms


class Temporary(ChatError):
    code = "temporary"
    status = 503
    temporary = True


class StoreUnavailable(Temporary):
    code = "store_unavailable"


class Draining(Temporary):
    code = "draining"


def every_error() -> list[type[ChatError]]:
    """All classes of the list above, for the protocol's documentation and the generated browser constants. What a part
    refuses to its operator alone, such as a database of another version, is never on the wire and not among them."""
    found: list[type[ChatError]] = []
    waiting: list[type[ChatError]] = [ChatError]
    while waiting:
        error = waiting.pop(0)
        found.append(error)
        waiting.extend(refusal for refusal in error.__subclasses__() if refusal.__module__ == __name__)
    return found
