"""Makes programs ready to run: lays out their files and compiles them, each once, in a confined process of its own."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sandbox.errors import LaunchFailed, UnsupportedLanguage
from sandbox.inside.codec import BadFrame, loads
from sandbox.languages.artifacts import Artifact, Artifacts, key_of
from sandbox.languages.base import Language, Layout, Shim, Step, Toolchain
from sandbox.languages.jobs import Execute, Executed, ExecuteJob
from sandbox.languages.verdicts import fault_of
from sandbox.outcome import Status
from sandbox.types import MAX_SOURCE_BYTES, Limits, Program

_MIB = 1024 * 1024
COMPILE = Limits(
    cpu_s=15.0,
    wall_s=45.0,
    test_cpu_s=15.0,
    test_wall_s=45.0,
    memory_bytes=1024 * _MIB,
    output_bytes=64 * _MIB,
    file_bytes=128 * _MIB,
)
"""What a compiler may use. Its output is the artifact that comes back."""

_ARTIFACT_BYTES = 32 * _MIB
_MESSAGE_CHARS = 4000
_HELLO_LIMITS = Limits(cpu_s=10.0, wall_s=60.0, test_cpu_s=10.0, test_wall_s=60.0)


@dataclass(frozen=True, slots=True)
class Ready:
    """A program that can be run."""

    language: Language
    tools: Toolchain
    layout: Layout
    files: Mapping[str, bytes]
    """What its process finds in its folder."""


class NotReady(Exception):
    """The program cannot be run: the status of that, and why."""

    def __init__(self, status: Status, message: str, cpu_s: float = 0.0, wall_s: float = 0.0) -> None:
        super().__init__(message)
        self.status, self.message, self.cpu_s, self.wall_s = status, message, cpu_s, wall_s


class Workshop:
    """Prepares programs, and remembers which tools work. Belongs to one event loop."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._greeted: set[bytes] = set()
        self._greeting = asyncio.Lock()

    async def ready(self, execute: Execute, language: Language, program: Program) -> Ready:
        """Lay out and compile a program; with tools that were seen to work.

        Raises `NotReady` and `DoesNotFit` for what is the program's fault, `UnsupportedLanguage`, `InvalidSuite` and
        `LaunchFailed`.
        """
        tools = language.find()
        await self._greet(execute, language, tools)
        return await self._made(execute, language, tools, program)

    async def shim(self, execute: Execute, ready: Ready, shim: Shim) -> Mapping[str, bytes]:
        """The files of a shim, compiled where that is needed. Raises `LaunchFailed`."""
        files = _as_bytes(shim.files)
        if shim.compile is None:
            return files
        step = shim.compile(ready.tools)
        artifact = await self._compiled(execute, ready.language, ready.tools, step, files)
        if artifact.status is not None:
            raise LaunchFailed(f"the calls of {ready.language.title} cannot be compiled: {artifact.message}")
        return artifact.files

    async def _made(self, execute: Execute, language: Language, tools: Toolchain, program: Program) -> Ready:
        texts = (program.source, *(text for _, text in program.files))
        if sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) > MAX_SOURCE_BYTES:
            raise NotReady(Status.COMPILE_ERROR, f"the program is larger than {MAX_SOURCE_BYTES} bytes")
        layout = language.layout(program)
        files = _as_bytes(layout.files)
        if language.compile is None:
            return Ready(language, tools, layout, files)
        artifact = await self._compiled(execute, language, tools, language.compile(tools, layout), files)
        if artifact.status is not None:
            raise NotReady(artifact.status, artifact.message, artifact.cpu_s, artifact.wall_s)
        # A program may read the files that came with it, so they are there when it runs.
        return Ready(language, tools, layout, {**files, **artifact.files})

    async def _greet(self, execute: Execute, language: Language, tools: Toolchain) -> None:
        """Run the language's smallest program once: tools that do not work here are no candidate's fault."""
        key = key_of(language.name, tools.version)
        async with self._greeting:
            if key in self._greeted:
                return
            try:
                ready = await self._made(
                    execute, language, tools, Program(completion=language.hello, language=language.name)
                )
                executed = await execute(run_job(ready, language.run(tools, ready.layout, Limits()), _HELLO_LIMITS))
            except NotReady as error:
                raise _does_not_work(language, error.message) from error
            if executed.stdout.strip() != b"hello":
                fault = fault_of(executed, language) or {"exception_message": "a program that greets prints nothing"}
                raise _does_not_work(language, str(fault["exception_message"]))
            self._greeted.add(key)

    async def _compiled(
        self, execute: Execute, language: Language, tools: Toolchain, step: Step, files: Mapping[str, bytes]
    ) -> Artifact:
        texts = [part for path, data in sorted(files.items()) for part in (path, data.decode("utf-8", "surrogatepass"))]
        key = key_of(language.name, tools.version, *step.argv, *texts)

        async def make() -> Artifact:
            job = ExecuteJob(
                kind="compile",
                files=files,
                argv=step.argv,
                env=step.env,
                collect=step.collect,
                artifact_bytes=_ARTIFACT_BYTES,
                limits=COMPILE,
                address_space=language.address_space,
                own_bytes=language.own_bytes,
            )
            frames: list[bytes] = []

            def hear(body: bytes, cpu_s: float, wall_s: float) -> bool:
                frames.append(body)
                return False

            executed = await execute(job, hear)
            return replace(_artifact(executed, frames), cpu_s=executed.cpu_s, wall_s=executed.wall_s)

        return await self._artifacts.get(key, make)


def run_job(ready: Ready, step: Step, limits: Limits, *, stdin: bytes = b"") -> ExecuteJob:
    """The job of one run of a program."""
    return ExecuteJob(
        kind="run",
        files=ready.files,
        argv=step.argv,
        env=step.env,
        stdin=stdin,
        limits=limits,
        address_space=ready.language.address_space,
        own_bytes=ready.language.own_bytes,
    )


def _artifact(executed: Executed, frames: list[bytes]) -> Artifact:
    """What a compiler's process said, which is as untrusted as the source that it read."""
    if not frames:
        status = executed.ended or Status.KILLED
        return Artifact(status=status, message=f"while compiling: {executed.message or 'the compiler died'}")
    try:
        answer = loads(frames[0])
        if answer["exit"] != 0:
            return Artifact(status=Status.COMPILE_ERROR, message=str(answer["output"])[:_MESSAGE_CHARS])
        if "too_big" in answer:
            message = f"the compiled program is larger than {_ARTIFACT_BYTES} bytes"
            return Artifact(status=Status.COMPILE_ERROR, message=message)
        files = {str(path): base64.b64decode(text, validate=True) for path, text in answer["artifact"].items()}
    except (BadFrame, KeyError, AttributeError, TypeError, ValueError) as error:
        return Artifact(status=Status.PROTOCOL_ERROR, message=f"while compiling: {error!s:.100}")
    return Artifact(files=files)


def _as_bytes(files: tuple[tuple[str, str], ...]) -> dict[str, bytes]:
    return {path: text.encode("utf-8", "surrogatepass") for path, text in files}


def _does_not_work(language: Language, why: str) -> UnsupportedLanguage:
    message = f"{language.title} is installed, but does not work inside the sandbox: {why[:300]}"
    return UnsupportedLanguage(language.name, message)
