"""Landlock as the kernel here enforces it: every case in a process that is really confined."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.inside import landlock

REPOSITORY = Path(__file__).parents[2]
STANDARD_LIBRARY = [path for path in sys.path if path.startswith(sys.base_prefix) and os.path.isdir(path)]
SHARED_LIBRARIES = [path for path in ("/lib", "/lib64", "/usr/lib", "/usr/lib64") if os.path.isdir(path)]

PROGRAM = """
import errno, os, socket, sys
sys.path.insert(0, {repository!r})
from sandbox.inside import landlock
from sandbox.inside.system import PR_SET_NO_NEW_PRIVS, prctl
prctl(PR_SET_NO_NEW_PRIVS, 1)
landlock.restrict({readable!r}, {writable!r}, {executable!r})
try:
    result = {expression}
except OSError as error:
    result = errno.errorcode[error.errno]
os.write(1, str(result).encode())
"""

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or landlock.abi() == 0, reason="this kernel offers no Landlock"
)


def needs_abi(version: int) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        landlock.abi() < version, reason=f"Landlock ABI {landlock.abi()}, the right is of {version}"
    )


def confined(
    expression: str,
    readable: list[str] | None = None,
    writable: list[str] | None = None,
    executable: list[str] | None = None,
) -> str:
    """What the expression came to in a confined process, or the name of the error it raised."""
    lists = {"readable": readable or [], "writable": writable or [], "executable": executable or []}
    source = PROGRAM.format(repository=str(REPOSITORY), expression=expression, **lists)
    done = subprocess.run([sys.executable, "-I", "-S", "-c", source], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_file_of_the_host_cannot_be_read() -> None:
    assert confined("open('/etc/passwd').read()", readable=STANDARD_LIBRARY) == "EACCES"


def test_the_standard_library_can() -> None:
    assert confined("__import__('colorsys').rgb_to_hsv(0, 0, 0)[2]", readable=STANDARD_LIBRARY) == "0"


def test_a_folder_cannot_be_listed_unless_given(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    assert confined(f"os.listdir({str(tmp_path)!r})", readable=[str(tmp_path / "inner")]) == "EACCES"
    assert confined(f"os.listdir({str(tmp_path)!r})", readable=[str(tmp_path)]) == "['inner']"


def test_a_single_file_may_be_given(tmp_path: Path) -> None:
    (tmp_path / "seen").write_text("yes")
    (tmp_path / "hidden").write_text("no")
    assert confined(f"open('{tmp_path}/seen').read()", readable=[f"{tmp_path}/seen"]) == "yes"
    assert confined(f"open('{tmp_path}/hidden').read()", readable=[f"{tmp_path}/seen"]) == "EACCES"
    assert confined("open('/dev/null', 'w').write('x')", writable=["/dev/null"]) == "1"


def test_what_is_readable_cannot_be_changed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    folder, file = str(tmp_path), str(tmp_path / "file")
    for attempt in (
        f"open({file!r}, 'a')",
        f"os.unlink({file!r})",
        f"os.mkdir({folder + '/made'!r})",
        f"os.symlink('x', {folder + '/made'!r})",
        f"os.rename({file!r}, {folder + '/moved'!r})",
        f"os.mkfifo({folder + '/pipe'!r})",
    ):
        assert confined(attempt, readable=[folder]) == "EACCES", attempt
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_is_writable_can_but_holds_no_pipe_and_no_program(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert confined(f"open('{folder}/file', 'w').write('four')", writable=[folder]) == "4"
    assert confined(f"open('{folder}/file').read()", writable=[folder]) == "four"
    assert confined(f"os.unlink('{folder}/file')", writable=[folder]) == "None"
    assert confined(f"os.mkfifo('{folder}/pipe')", writable=[folder]) == "EACCES"
    program = tmp_path / "program"
    program.write_text("#!/bin/true\n")
    program.chmod(0o755)
    assert confined(f"os.execv('{program}', ['x'])", writable=[folder], executable=["/bin", "/usr"]) == "EACCES"


def test_only_what_is_executable_can_be_executed() -> None:
    run = "os.execv('/bin/echo', ['echo', '-n', 'ran'])"
    assert confined(run, readable=["/bin", "/usr", *SHARED_LIBRARIES]) == "EACCES"
    assert confined(run, executable=["/bin", "/usr/bin", *SHARED_LIBRARIES]) == "ran"


@needs_abi(2)
def test_a_file_moves_between_folders_only_where_both_are_writable(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "a/file").write_text("")
    a, b, c = (str(tmp_path / name) for name in ("a", "b", "c"))
    assert confined(f"os.rename('{a}/file', '{b}/file')", writable=[a, b]) == "None"
    assert confined(f"os.rename('{b}/file', '{c}/file')", writable=[b], readable=[c]) == "EACCES"
    assert confined(f"os.link('{b}/file', '{a}/file')", readable=[b], writable=[a]) == "EXDEV"


@needs_abi(3)
def test_a_readable_file_cannot_be_cut(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    assert confined(f"os.truncate('{tmp_path}/file', 0)", readable=[str(tmp_path)]) == "EACCES"
    assert confined(f"os.truncate('{tmp_path}/file', 0)", writable=[str(tmp_path)]) == "None"


@needs_abi(4)
def test_there_is_no_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert confined(f"socket.socket().connect(('127.0.0.1', {port}))", readable=STANDARD_LIBRARY) == "EACCES"
    assert confined("socket.socket().bind(('127.0.0.1', 0))", readable=STANDARD_LIBRARY) == "EACCES"


@needs_abi(5)
def test_a_device_takes_no_commands() -> None:
    command = "__import__('fcntl').ioctl(open('/dev/null'), 0x541B, 0)"  # FIONREAD
    assert confined(command, readable=["/dev/null", *STANDARD_LIBRARY]) == "EACCES"
    assert confined(command, writable=["/dev/null"], readable=STANDARD_LIBRARY) == "EACCES"


@needs_abi(6)
def test_processes_outside_are_out_of_reach() -> None:
    name = f"touchstone-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0" + name)
        server.listen()
        reach = f"socket.socket(socket.AF_UNIX).connect(chr(0) + {name!r})"
        assert confined(reach) == "EPERM"
    assert confined("os.kill(os.getppid(), 0)") == "EPERM"
    assert confined("os.kill(os.getpid(), 0)") == "None"


def test_a_path_that_does_not_exist_is_left_out(tmp_path: Path) -> None:
    assert confined("open('/etc/passwd')", readable=[str(tmp_path / "nowhere")]) == "EACCES"


def test_one_ruleset_confines_many(tmp_path: Path) -> None:
    """As the server does it: prepared once, entered by every forked process, one rule for all that is mounted later."""
    source = f"""
import os, sys
sys.path.insert(0, {str(REPOSITORY)!r})
from sandbox.inside import landlock
from sandbox.inside.system import PR_SET_NO_NEW_PRIVS, prctl
ruleset = landlock.prepare([], [{str(tmp_path)!r}], [])
prctl(PR_SET_NO_NEW_PRIVS, 1)
for number in range(3):
    if os.fork() == 0:
        landlock.enter(ruleset)
        open({str(tmp_path)!r} + "/" + str(number), "w").close()
        try:
            open("/etc/passwd")
        except PermissionError:
            os._exit(0)
        os._exit(1)
    assert os.wait()[1] == 0
open("/etc/passwd").close()
"""
    subprocess.run([sys.executable, "-I", "-S", "-c", source], check=True, timeout=60)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]


def test_needs_no_new_privileges() -> None:
    if os.geteuid() == 0:
        pytest.skip("root may restrict itself without no_new_privs")
    source = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\nfrom sandbox.inside import landlock\n"
    command = [sys.executable, "-I", "-S", "-c", source + "landlock.restrict([], [], [])"]
    done = subprocess.run(command, capture_output=True, timeout=60)
    assert b"landlock restrict_self" in done.stderr


def test_numbers_the_rights_as_the_header_does() -> None:
    header = Path("/usr/include/linux/landlock.h")
    if not header.exists():
        pytest.skip("no kernel headers here")
    rights = re.findall(r"^#define LANDLOCK_ACCESS_FS(_\w+)\s+\(1ULL << (\d+)\)", header.read_text(), re.MULTILINE)
    assert len(rights) >= 13
    for name, bit in rights:
        assert getattr(landlock, name) == 1 << int(bit), name
