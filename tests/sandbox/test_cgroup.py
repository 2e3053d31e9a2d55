"""Control groups of the kernel's where this host has them; the layout of other hosts as folders of files."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import cgroup
from sandbox.cgroup import Group, Place, find_place

MIB = 2**20
EAT = "import sys; x = bytearray(int(sys.argv[1])); sys.stdin.read(1)"
FORK = """
import os
for count in range(100):
    try:
        if os.fork() == 0:
            os.read(0, 1)
            os._exit(0)
    except BlockingIOError:
        break
print(count, flush=True)
"""
TOGETHER = """
import os
for _ in range(4):
    if os.fork() == 0:
        eaten = bytearray(20 << 20)
        os.read(0, 1)
        os._exit(0)
os.wait()
"""

MOUNTS = """
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:32 {root} {point}/memory rw - cgroup cgroup rw,memory
33 31 0:36 / {point}/pids rw - cgroup cgroup rw,pids
"""
UNIFIED = "31 23 0:28 {root} {point} rw - cgroup2 cgroup2 rw\n"


@pytest.fixture
def group() -> Iterator[Group]:
    if reason := cgroup.why_not():
        pytest.skip(f"no control group here: {reason}")
    group = cgroup.create("test", 48 * MIB, 8)
    assert group is not None
    yield group
    assert group.remove()


def start(group: Group, source: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A process in the group that waits for a line before it runs the source."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.readline()\n" + source, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    group.add(process.pid)
    return process


def test_a_process_over_the_limit_is_killed(group: Group) -> None:
    process = start(group, EAT, str(200 * MIB))
    process.communicate(b"\n", timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert group.oom_kills() == 1
    assert 24 * MIB < group.memory_peak_bytes() <= 48 * MIB


def test_a_process_under_it_is_not(group: Group) -> None:
    process = start(group, EAT, str(20 * MIB))
    process.communicate(b"\n\n", timeout=60)
    assert process.returncode == 0
    assert group.oom_kills() == 0
    assert 20 * MIB < group.memory_peak_bytes() <= 48 * MIB


def test_the_limit_is_for_all_together(group: Group) -> None:
    with start(group, TOGETHER) as process:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.wait(60)
        assert group.oom_kills() >= 1
        process.stdin.close()


def test_the_number_of_processes_is_bounded(group: Group) -> None:
    with start(group, FORK) as process:
        output, _ = process.communicate(b"\n", timeout=60)
    assert output == b"7\n"


def test_a_group_with_a_process_stays(group: Group) -> None:
    process = start(group, EAT, "1")
    assert not group.remove()
    process.communicate(b"\n\n", timeout=60)
    assert group.remove()
    assert group.remove()
    assert cgroup.create("again", 8 * MIB, 2) is not None
    assert len(ours()) == 1
    for folder in find_place().folders:
        (folder / ours(folder)[0]).rmdir()


def ours(folder: Path | None = None) -> list[str]:
    place = folder or find_place().folders[0]
    return [entry.name for entry in place.iterdir() if re.match(rf"touchstone-\d+-{os.getpid()}-", entry.name)]


def test_what_a_killed_server_left_is_swept(group: Group) -> None:
    root = str(Path(__file__).parents[2])
    source = f"import os, sys; sys.path.insert(0, {root!r}); from sandbox import cgroup\n"
    source += "assert cgroup.create('left', 1 << 24, 4); print(os.getpid(), flush=True); os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", source], capture_output=True, text=True, timeout=60)
    pid = int(done.stdout)
    folder = find_place().folders[0]
    left = [entry for entry in folder.iterdir() if re.match(rf"touchstone-\d+-{pid}-\d+-left", entry.name)]
    assert len(left) == 1
    assert cgroup.why_not() is None
    assert not left[0].exists()
    assert ours(), "one's own groups stay"


def test_a_creator_is_its_start_too() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("needs /proc")
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert cgroup._creator(child.pid) != cgroup._creator(os.getpid())
        assert str(cgroup._creator(child.pid)).split("-")[1] == str(child.pid)
    finally:
        child.kill()
        child.wait()
    assert cgroup._creator(child.pid) is None


def layout(tmp_path: Path, mounts: str, groups: str, **roots: str) -> Place:
    (tmp_path / "mountinfo").write_text(mounts.format(point=tmp_path, **roots).lstrip())
    (tmp_path / "cgroup").write_text(groups)
    return find_place(tmp_path)


def test_finds_the_own_group_of_the_first_version(tmp_path: Path) -> None:
    for name in ("memory/api/42", "pids"):
        (tmp_path / name).mkdir(parents=True)
    own = "8:pids:/\n4:memory:/api/42\n0::/\n"
    assert layout(tmp_path, MOUNTS, own, root="/").folders == (tmp_path / "memory/api/42", tmp_path / "pids")
    shown_from_below = layout(tmp_path, MOUNTS, own, root="/api/42")
    assert shown_from_below.folders == (tmp_path / "memory", tmp_path / "pids")
    hidden = layout(tmp_path, MOUNTS, "8:pids:/\n4:memory:/docker/7\n", root="/")
    assert (hidden.version, hidden.folders) == (1, (tmp_path / "memory", tmp_path / "pids"))


def test_finds_the_second_version_where_it_is_delegated(tmp_path: Path) -> None:
    service = tmp_path / "user.slice/service"
    service.mkdir(parents=True)
    (service / "cgroup.controllers").write_text("cpu memory pids\n")
    assert layout(tmp_path, UNIFIED, "0::/user.slice/service\n", root="/") == Place(2, (service,))
    (service / "cgroup.controllers").write_text("hugetlb\n")
    with pytest.raises(OSError, match="no control groups"):
        layout(tmp_path, UNIFIED, "0::/user.slice/service\n", root="/")


def test_says_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no control groups"):
        layout(tmp_path, "", "")


def test_an_ordinary_user_is_told_why() -> None:
    if not sys.platform.startswith("linux") or os.geteuid() == 0:
        pytest.skip("for an ordinary user")
    before = time.monotonic()
    group = cgroup.create("test", 8 * MIB, 2)
    assert (group is None) == (cgroup.why_not() is not None)
    assert time.monotonic() - before < 5
    if group:
        group.remove()
