"""A PostgreSQL server of the tests' own, on a socket that only this machine reaches."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_SERVER_USERS = ("postgres", "nobody")  # it refuses to run as root


@dataclass(frozen=True)
class Server:
    """A cluster in a folder, whose databases need no password."""

    binaries: Path
    folder: Path
    user: str | None  # None is the user of this process

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off"
        self._run("pg_ctl", "-w", "-D", f"{self.folder}/data", "-o", options, "start")

    def stop(self) -> None:
        """Stop it at once, as when its machine fails: open transactions are lost."""
        self._run("pg_ctl", "-w", "-D", f"{self.folder}/data", "-m", "immediate", "stop")

    def initialise(self) -> None:
        """Create an empty cluster."""
        self._run("initdb", "-D", f"{self.folder}/data", "-U", "team", "-A", "trust", "-N")

    def database(self, name: str) -> str:
        """Create an empty database; its URL."""
        self._run("createdb", "-h", str(self.folder), "-U", "team", name)
        return f"postgresql://team@/{name}?host={self.folder}"

    def sql(self, statement: str) -> None:
        """Run a statement as the administrator."""
        self._run("psql", "-qX", "-h", str(self.folder), "-U", "team", "postgres", "-c", statement)

    def _run(self, program: str, *arguments: str) -> str:
        log = self.folder / f"{program}.log"
        with log.open("w+") as output:  # a pipe would stay open in the server that pg_ctl starts
            done = subprocess.run(
                [self.binaries / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=self.user,
                cwd=self.folder,
                check=False,
                timeout=120,
            )
        assert done.returncode == 0, log.read_text()
        return log.read_text()


@contextmanager
def running_server() -> Iterator[Server]:
    """A started server; skips the tests where PostgreSQL is not installed."""
    if (binaries := _binaries()) is None:
        pytest.skip("PostgreSQL is not installed: no initdb on PATH or in /usr/lib/postgresql")
    user = _server_user() if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="attnbench-pg-", dir="/tmp"))  # short, for the socket
    if user is not None:
        shutil.chown(folder, user)
    server = Server(binaries, folder, user)
    try:
        server.initialise()
        server.start()
        yield server
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            server.stop()
        shutil.rmtree(folder)


def _binaries() -> Path | None:
    """The folder of the newest installed server."""
    if (found := shutil.which("initdb")) is not None:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders else None


def _server_user() -> str:
    known = {each.pw_name for each in pwd.getpwall()}
    return next(name for name in _SERVER_USERS if name in known)
