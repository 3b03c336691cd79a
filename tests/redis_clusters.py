"""A real Redis Cluster for tests: three masters, a replica of the first, on free ports; a shard is killed or stopped, a
slot moved, at will. Sharded pub/sub came with Redis 7, so the server is the one on the PATH (Debian's)."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from redis import Connection, SSLConnection
from redis.exceptions import RedisError

from chatd.live.redis_listener import slot_of
from tests.redises import CERTIFICATE, TLS_OPTIONS, RedisProcess, free_ports, redis_7_path

MASTERS = 3
SLOTS = 16_384
NODE_TIMEOUT_MS = 1_000
"""After which a server that says nothing is taken for dead; Redis's own default is 15 s."""

START_SECONDS = 30.0


class ClusterServer(RedisProcess):
    """One server of the cluster, on ports that stay the same over its lives. With `tls`, all is encrypted: what clients
    say and what the servers say to each other."""

    def __init__(self, path: str, folder: Path, *, tls: bool) -> None:
        super().__init__(path)
        self.port, self.bus_port = free_ports(2)
        self.folder = folder
        folder.mkdir()
        self._tls = tls
        self.id = ""

    @property
    def url(self) -> str:
        if self._tls:
            return f"rediss://127.0.0.1:{self.port}?ssl_ca_certs={CERTIFICATE}"
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        port: dict[str, Any] = {"port": self.port}
        if self._tls:
            port = {"port": 0, "tls-port": self.port, "tls-cluster": "yes", "tls-replication": "yes", **TLS_OPTIONS}
        options = {
            "cluster-port": self.bus_port,
            "dir": self.folder,
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-node-timeout": NODE_TIMEOUT_MS,
            "cluster-replica-validity-factor": 0,  # a replica may always be promoted: it has nothing to be behind with
            "repl-diskless-sync-delay": 0,
            "repl-ping-replica-period": 1,  # a replica is named to clients when it has heard something from its master
        }
        self.run(**port, **options)
        wait_for(lambda: bool(self.ask("PING")))
        self.id = self.ask("CLUSTER", "MYID").decode()

    def ask(self, *command: Any) -> Any:
        """The answer as Redis gave it."""
        arguments: dict[str, Any] = {"port": self.port, "socket_timeout": 5, "protocol": 2}
        connection: Any
        if self._tls:
            connection = SSLConnection(**arguments, ssl_ca_certs=str(CERTIFICATE))
        else:
            connection = Connection(**arguments)  # type: ignore[no-untyped-call]
        try:
            connection.send_command(*command)
            return connection.read_response(disable_decoding=True)
        finally:
            connection.disconnect()


def wait_for(condition: Any) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(RedisError, OSError):
            if condition():
                return
        time.sleep(0.05)
    raise AssertionError("the cluster did not get there in time")


class RedisCluster:
    """See the module's text. `replica` is the first master's."""

    def __init__(self, path: str, folder: Path, *, tls: bool) -> None:
        self.masters = [ClusterServer(path, folder / f"master{number}", tls=tls) for number in range(MASTERS)]
        self.replica = ClusterServer(path, folder / "replica", tls=tls)
        self.servers = [*self.masters, self.replica]

    @property
    def urls(self) -> list[str]:
        return [server.url for server in self.servers]

    def start(self) -> None:
        for server in self.servers:
            server.start()
        first = self.masters[0]
        for server in self.servers[1:]:
            server.ask("CLUSTER", "MEET", "127.0.0.1", first.port, first.bus_port)
        size = SLOTS // MASTERS + 1
        for number, master in enumerate(self.masters):
            master.ask("CLUSTER", "ADDSLOTSRANGE", number * size, min(SLOTS, (number + 1) * size) - 1)
        wait_for(lambda: all(b"cluster_state:ok" in server.ask("CLUSTER", "INFO") for server in self.servers))
        wait_for(lambda: self.replica.ask("CLUSTER", "REPLICATE", first.id))
        wait_for(lambda: b"master_link_status:up" in self.replica.ask("INFO", "replication"))
        # Known to all as a replica: else nobody would vote for it.
        wait_for(lambda: all(self.replica.port in self._ports_in_slots(server) for server in self.servers))

    def _ports_in_slots(self, server: ClusterServer) -> set[int]:
        return {int(one[1]) for entry in server.ask("CLUSTER", "SLOTS") for one in entry[2:]}

    def master_of(self, channel: str) -> ClusterServer:
        """Whose slot the channel (its full name) lives in, as the cluster was made."""
        return self.masters[slot_of(channel.encode()) // (SLOTS // MASTERS + 1)]

    def move(self, channel: str, to: ClusterServer) -> None:
        """Move the channel's slot to another master, and return when all know. It holds no keys, so there is nothing
        else to move. Each server has a view of its own and may be behind with it: asked of one that is, the move would
        begin at a wrong place, and Redis refuses it ("I'm already the owner of hash slot")."""
        slot = slot_of(channel.encode())
        wait_for(lambda: len(self._owners(slot)) == 1)
        [port] = self._owners(slot)
        if port == to.port:
            return
        source = next(one for one in self.masters if one.port == port)
        to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", to.id)

        def tell() -> bool:
            for server in (to, source, *(one for one in self.masters if one not in (to, source))):
                if self._owner(server, slot) != to.port:
                    server.ask("CLUSTER", "SETSLOT", slot, "NODE", to.id)
            return self._owners(slot) == {to.port}

        wait_for(tell)

    def _owners(self, slot: int) -> set[int]:
        """By their ports: one, when all the masters agree."""
        return {self._owner(server, slot) for server in self.masters}

    def _owner(self, server: ClusterServer, slot: int) -> int:
        """As this server sees it; 0 when it knows of none."""
        found = (one[2][1] for one in server.ask("CLUSTER", "SLOTS") if one[0] <= slot <= one[1])
        return int(next(found, 0))

    def kill(self) -> None:
        for server in self.servers:
            server.kill()


@contextlib.contextmanager
def running_redis_cluster(*, tls: bool = False) -> Iterator[RedisCluster]:
    path = redis_7_path()
    with tempfile.TemporaryDirectory(prefix="chatd-cluster-") as folder:
        cluster = RedisCluster(path, Path(folder), tls=tls)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.kill()
