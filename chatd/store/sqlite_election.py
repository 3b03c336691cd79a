"""Which of the processes that share a SQLite file writes for all of them, and whether all of them know.

Beside the database lie two files. `…-leader` is never written to, it is only locked: whoever has locked its first byte
is the *leader*; whoever shares a lock on its second byte stands *apart*, that is, has no line to the leader and hears
of nothing that only the leader tells. The kernel lets go of both when a process ends, however it ends. `…-leader.sock`
is where the leader listens; it is the leader's to make and to remove, and one that a dead leader has left behind is
replaced by the next. Both look like something that may be deleted, and sometimes are: who has locked a file that is
gone, or listens where nobody finds it, begins anew.

Nothing that is stored depends on it: every transaction is guarded by SQLite's own lock, whoever is the leader, so two
of them, or none, would cost time and nothing else.

Locks of open file descriptions (`F_OFD_SETLK`, fcntl_locking(2)) rather than of processes: closing another descriptor
of the file does not lose them, and looking whether somebody holds one takes none. Linux has them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

BACKLOG = 128
ADDRESS_BYTES_MAX = 107
"""`sun_path` of unix(7) has 108, with the zero at its end."""

_LEADER, _APART = 0, 1
_FLOCK = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, process
_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user id, group id

Place = tuple[int, int]
"""Of a file: its device, and its number there."""


class Election:
    """See the module's text. Raises `OSError` when the file cannot be made, or not be locked: not every file system and
    not every sandbox has these locks."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._lock_path = Path(f"{database}-leader")
        self._socket_path = Path(f"{database}-leader.sock")
        self._socket_place: Place | None = None  # while this process listens
        self._is_apart = False
        self._file = _open_beside(database)
        try:
            self.go_apart()
            self.come_near()
        except OSError:
            self.close()
            raise

    @staticmethod
    def is_possible() -> bool:
        """Whether this system has what it takes."""
        return sys.platform == "linux" and hasattr(fcntl, "F_OFD_SETLK")

    def stand(self) -> bool:
        """Become the leader, unless there is one. Returns whether this is the leader now."""
        return self._lock(fcntl.F_WRLCK, _LEADER)

    def resign(self) -> None:
        self._lock(fcntl.F_UNLCK, _LEADER)

    def is_in_place(self) -> bool:
        """Whether the others find what this process has locked, and where it listens."""
        is_found = _place_of(self._lock_path) == _place_of(self._file)
        return is_found and (self._socket_place is None or _place_of(self._socket_path) == self._socket_place)

    def begin_anew(self) -> None:
        """Let go of the file, and take the one that is there now, or a new one. Raises `OSError`."""
        file = _open_beside(self._database)
        self.close()
        self._file = file
        if self._is_apart:
            self.go_apart()

    def go_apart(self) -> None:
        """From now on this process hears only what is told to everybody."""
        self._is_apart = True
        self._lock(fcntl.F_RDLCK, _APART)

    def come_near(self) -> None:
        """From now on this process hears what the leader tells those who have a line."""
        self._is_apart = False
        self._lock(fcntl.F_UNLCK, _APART)

    def somebody_is_apart(self) -> bool:
        """Whether another process is, or may be for all the system can tell. The answer is that of this very moment."""
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _APART, 1, 0)
        try:
            found = _FLOCK.unpack(fcntl.fcntl(self._file, fcntl.F_OFD_GETLK, asked))
        except OSError:
            return True
        return bool(found[0] != fcntl.F_UNLCK)

    def listen(self) -> socket.socket:
        """The socket on which the leader is reached, by processes of the same account. Raises `OSError`."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.setblocking(False)
            os.fchmod(listening.fileno(), stat.S_IRUSR | stat.S_IWUSR)  # before it is bound, so the file never had more
            self._socket_path.unlink(missing_ok=True)
            with self._address() as address:
                listening.bind(address)
            listening.listen(BACKLOG)
            self._socket_place = _place_of(self._socket_path)
        except OSError:
            listening.close()
            raise
        return listening

    def stop_listening(self) -> None:
        """Take this leader's address away."""
        mine, self._socket_place = self._socket_place, None
        if mine is not None and _place_of(self._socket_path) == mine:
            self._socket_path.unlink(missing_ok=True)

    def connect(self) -> socket.socket:
        """A connection to the leader. Raises `OSError` when nobody listens, or one whose address belongs to another
        account."""
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.setblocking(False)
            with self._address() as address:
                connected.connect(address)  # at once or not at all: unix(7) has no handshake
            if not is_of_this_account(connected):
                raise PermissionError("somebody else listens at the leader's address")
        except OSError:
            connected.close()
            raise
        return connected

    def close(self) -> None:
        """Let go of everything."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _lock(self, kind: int, place: int) -> bool:
        try:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, place, 1, 0))
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, by the standard
            return False
        return True

    @contextlib.contextmanager
    def _address(self) -> Iterator[str]:
        """The socket's path; one that is too long is said by way of its open directory."""
        path = os.fspath(self._socket_path)
        if len(os.fsencode(path)) <= ADDRESS_BYTES_MAX:
            yield path
            return
        directory = os.open(self._socket_path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield f"/proc/self/fd/{directory}/{self._socket_path.name}"
        finally:
            os.close(directory)


def _place_of(file: Path | int) -> Place | None:
    """None if there is no such file."""
    try:
        found = os.fstat(file) if isinstance(file, int) else file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _open_beside(database: Path) -> int:
    """The file that is locked. Whoever may write to the database may lock it, or others would not know of them: so it
    has the database's mode, as SQLite's own files beside it have."""
    path, flags = f"{database}-leader", os.O_RDWR | os.O_CLOEXEC
    try:
        file = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags)
    with contextlib.suppress(OSError):
        os.fchmod(file, stat.S_IMODE(database.stat().st_mode) & 0o666)  # whatever this account's umask is
    return file


def is_of_this_account(connected: socket.socket) -> bool:
    """Whether the other end of a Unix socket belongs to a process of the same account (SO_PEERCRED, unix(7))."""
    given = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(given)[1] == os.geteuid())
