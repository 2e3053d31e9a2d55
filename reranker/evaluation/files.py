"""Evaluations on disk: the report as JSON, and the run file, one line a finished problem, that a run can go on from."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from reranker.evaluation.errors import DifferentRun, InvalidSetting, UnreadableFile
from reranker.evaluation.measures import Estimate
from reranker.evaluation.record import Record, miscounted
from reranker.evaluation.report import SCHEMA_VERSION, Host, Measure, Report
from reranker.evaluation.settings import Settings, SourceInfo, SuiteInfo

REPORT_KIND, RUN_KIND = "touchstone evaluation", "touchstone evaluation run"
_START = f'{{"kind":"{RUN_KIND}"'.encode()
_DERIVED = ("counts", "wall_s", "ms_per_token", "measures", "gains", "groups")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first line of a run file: what its records were made with."""

    schema_version: int = SCHEMA_VERSION
    created_at: str
    suite: SuiteInfo
    source: SourceInfo
    settings: Settings
    host: Host

    def differences(self, other: Header) -> list[str]:
        """What keeps records under both headers from being one run, named with both values."""
        ours, theirs = _identity(self), _identity(other)
        return [f"{name}: {ours[name]!r} there, {theirs[name]!r} here" for name in ours if ours[name] != theirs[name]]


def _identity(header: Header) -> Mapping[str, Any]:
    source = {f"source.{name}": value for name, value in asdict(header.source).items()}
    return {"suite": header.suite.content_hash, **source, **header.settings.identity()}


class RunFile:
    """Records as they are made, each on disk before the next. Made by `open`; a context manager; one writer at a time.

    A process killed in the middle of a line leaves a part of one: it is cut off, and its problem is done again.
    """

    def __init__(self, path: Path, file: IO[bytes], records: tuple[Record, ...]) -> None:
        self.path, self._file = path, file
        self.records = records
        """Those that were there when it was opened."""

    @classmethod
    def open(cls, path: Path, header: Header) -> RunFile:
        """Begin a run, or go on with the one that is there.

        Raises `DifferentRun`, naming what differs, and `UnreadableFile`, also where another process writes it.
        """
        with translated(path):
            file = path.open("a+b")
        try:
            return cls._opened(path, file, header)
        except BaseException:
            file.close()
            raise

    @classmethod
    def _opened(cls, path: Path, file: IO[bytes], header: Header) -> RunFile:
        with translated(path):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.seek(0)
            data = file.read()
        if data[: len(_START)] != _START[: len(data)]:
            raise UnreadableFile(str(path), "is no run file of an evaluation")
        whole = data.rfind(b"\n") + 1
        found, records = _parse_run(data[:whole], path) if whole else (header, ())
        if differences := found.differences(header):
            raise DifferentRun(f"{path} belongs to another run: {'; '.join(differences)}")
        run = cls(path, file, records)
        file.truncate(whole)
        if not whole:
            run._write({"kind": RUN_KIND, **asdict(header)})
        return run

    def append(self, record: Record) -> None:
        """Write one record and wait until the disk has it."""
        self._write(record.to_data())

    def _write(self, data: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(data, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> RunFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what the system says of a file into `UnreadableFile`."""
    try:
        yield
    except BlockingIOError as error:
        raise UnreadableFile(str(path), "another evaluation writes it now") from error
    except OSError as error:
        raise UnreadableFile(str(path), error.strerror or str(error)) from error


def report_data(report: Report) -> dict[str, Any]:
    """A report in JSON's own types; see docs/evaluation.md."""
    head = {name: getattr(report, name) for name in ("schema_version", "created_at")}
    parts = {name: asdict(getattr(report, name)) for name in ("suite", "source", "settings", "host", "counts")}
    return {
        "kind": REPORT_KIND,
        **head,
        **parts,
        "wall_s": round(report.wall_s, 3),
        "ms_per_token": report.ms_per_token,
        "measures": [measure_data(measure) for measure in report.measures()],
        "gains": [measure_data(measure) for measure in report.gains()],
        "groups": [
            {
                "tag": group.tag,
                "value": group.value,
                "problems": group.problems,
                "measures": [measure_data(measure) for measure in group.measures],
            }
            for group in report.groups()
        ],
        "records": [record.to_data() for record in report.records],
    }


def measure_data(measure: Measure) -> dict[str, Any]:
    """One measure, flat."""
    return {
        "name": measure.name,
        "k": measure.k,
        **estimate_data(measure.estimate),
        "problems": measure.problems,
    }


def estimate_data(estimate: Estimate) -> dict[str, float]:
    """A value and its interval, to six digits."""
    return {name: round(value, 6) for name, value in asdict(estimate).items()}


def check_writable(option: str, path: Path | None) -> None:
    """Refuse, before anything is measured, a file that could not be written. Raises `InvalidSetting`."""
    if path is None:
        return
    if path.is_dir():
        raise InvalidSetting(option, f"{path} is a folder")
    if not path.parent.is_dir():
        raise InvalidSetting(option, f"{path.parent} is no folder")
    # `write_json` puts a draft beside the file, so that its folder must be writable even where the file is there.
    if not os.access(path.parent, os.W_OK | os.X_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise InvalidSetting(option, f"{path} cannot be written")


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a file of JSON; it is replaced only once it is complete."""
    draft = path.with_name(path.name + ".part")
    draft.write_text(json.dumps(data, separators=(",", ":")) + "\n", encoding="utf-8")
    draft.replace(path)


def read_report(path: Path) -> Report:
    """The report of a JSON file or of a run file, complete or not. Raises `UnreadableFile`, naming what is wrong."""
    with translated(path):
        data = path.read_bytes()
    first, _, rest = data.partition(b"\n")
    head = _object(first, str(path))
    if head.get("kind") == RUN_KIND:
        header, records = _parse_run(data[: data.rfind(b"\n") + 1], path)
        body = {name: getattr(header, name) for name in ("created_at", "suite", "source", "settings", "host")}
        return Report(**body, records=records)
    if head.get("kind") != REPORT_KIND or rest.strip():
        raise UnreadableFile(str(path), "is no report of an evaluation and no run file")
    del head["kind"]
    _check_version(head, str(path))
    return _validated(Report, {name: value for name, value in head.items() if name not in _DERIVED}, str(path))


def _parse_run(data: bytes, path: Path) -> tuple[Header, tuple[Record, ...]]:
    first, *lines = data.splitlines()
    head = _object(first, f"{path}:1")
    if head.pop("kind", None) != RUN_KIND:
        raise UnreadableFile(str(path), "is no run file of an evaluation")
    _check_version(head, str(path))
    header = _validated(Header, head, f"{path}:1")
    found = {}
    for number, line in enumerate(lines, 2):
        where = f"{path}:{number}"
        record = _validated(Record, _object(line, where), where)
        fault = "" if record.unjudged else miscounted(len(record.samples), header.settings.n, header.source.kind)
        if fault:
            raise UnreadableFile(where, f"samples: {fault}")
        found[record.task_id] = record
    return header, tuple(sorted(found.values(), key=lambda record: record.position))


def _check_version(head: Mapping[str, Any], where: str) -> None:
    version = head.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UnreadableFile(where, f"schema_version is {version!r}; this Touchstone reads {SCHEMA_VERSION}")


def _object(data: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise UnreadableFile(where, f"is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UnreadableFile(where, "is not a JSON object")
    return value


# An unknown key in a file is an error here as everywhere.
for _class in (Estimate, Header, Host, Record, Report, Settings, SourceInfo, SuiteInfo):
    with_config(ConfigDict(extra="forbid"))(_class)


def _validated(cls: type[_T], data: Mapping[str, Any], where: str) -> _T:
    try:
        return TypeAdapter(cls).validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UnreadableFile(where, f"{field}: {first['msg']}" if field else first["msg"]) from error
