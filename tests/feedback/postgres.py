"""A PostgreSQL server of the tests' own, in a temporary folder, reached through a socket there."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, text
from sqlalchemy.exc import OperationalError

_START_S = 60
_numbers = itertools.count()


def programs() -> Path:
    """The folder of `initdb` and `postgres`; Debian's packages keep it off the path. Skips the test where none is."""
    named = shutil.which("initdb")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if named is None and not found:
        pytest.skip("initdb is not to be found: install postgresql (Debian: apt-get install postgresql)")
    return (Path(named) if named else found[-1]).resolve().parent


class Cluster:
    """Made once, started and killed at will. PostgreSQL refuses to be root, so then another user runs it."""

    def __init__(self, *, fsync: bool = False) -> None:
        """`fsync`: sync the disk at commits. A test needs it not: what a killed process wrote, the kernel still has."""
        self._fsync = "on" if fsync else "off"
        self._programs = programs()
        self.folder = Path(tempfile.mkdtemp(prefix="ts-pg-"))  # short: a socket's path has 107 bytes
        self._user: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        if os.getuid() == 0:
            self._user = _unprivileged()
            os.chown(self.folder, self._user, -1)
        self._data = self.folder / "data"
        made = [
            str(self._programs / "initdb"),
            "-D",
            str(self._data),
            "-U",
            "tests",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        subprocess.run([*made, "--no-sync"], check=True, capture_output=True, user=self._user, cwd=self.folder)

    def start(self) -> None:
        """Run it, and return once it answers. After a kill it waits for the last of the old processes."""
        options = ["-k", str(self.folder), "-c", "listen_addresses=", "-c", f"fsync={self._fsync}"]
        until = time.monotonic() + _START_S
        while time.monotonic() < until:
            if self._process is None or self._process.poll() is not None:
                with (self.folder / "log").open("ab") as log:
                    command = [str(self._programs / "postgres"), "-D", str(self._data), *options]
                    self._process = subprocess.Popen(command, stderr=log, stdout=log, user=self._user, cwd=self.folder)
            if self._answers():
                return
            time.sleep(0.1)
        raise AssertionError((self.folder / "log").read_text())

    def kill(self) -> None:
        """SIGKILL; its other processes end by themselves when they see it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Stop it and delete the folder."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str = "postgres") -> URL:
        """Where a database is."""
        return URL.create("postgresql+psycopg", "tests", database=database, query={"host": str(self.folder)})

    def new_database(self, *, encoding: str = "UTF8") -> str:
        """The URL of a fresh database, as somebody would write it in a configuration."""
        name = f"log{next(_numbers)}"
        self._run(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}'")
        return self.url(name).set(drivername="postgresql").render_as_string(hide_password=False)

    def _answers(self) -> bool:
        try:
            self._run("SELECT 1")
        except OperationalError:
            return False
        return True

    def _run(self, statement: str) -> None:
        engine = create_engine(self.url(), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()


def _unprivileged() -> int:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    pytest.skip("no user to run PostgreSQL as: neither postgres nor nobody")
