"""How much memory is free, read from trees of files laid out as the kernel's."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from engine.calibration.host import free_memory_bytes, total_memory_bytes


@pytest.fixture
def no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """psutil can tell nothing, so that only the control groups count."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/nonexistent")


def v2(folder: Path, limit: str, used: int, cache: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon {used - cache}\ninactive_file {cache}\n")


def v1(folder: Path, limit: int, used: int, cache: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"inactive_file 1\ntotal_inactive_file {cache}\n")


def read(root: Path, own: str) -> tuple[int | None, int | None]:
    path = root / "own"
    path.write_text(own)
    return free_memory_bytes(cgroups=root, own=path), total_memory_bytes(cgroups=root, own=path)


@pytest.mark.usefixtures("no_proc")
def test_where_nothing_tells_it_is_unknown(tmp_path: Path) -> None:
    nowhere = tmp_path / "none"
    assert free_memory_bytes(cgroups=nowhere, own=nowhere) is None
    assert total_memory_bytes(cgroups=nowhere, own=nowhere) is None


@pytest.mark.usefixtures("no_proc")
def test_the_own_group_of_version_2_counts_without_its_cache(tmp_path: Path) -> None:
    v2(tmp_path / "a/b", "1000", 700, cache=500)
    assert read(tmp_path, "0::/a/b\n") == (800, 1000)


@pytest.mark.usefixtures("no_proc")
@pytest.mark.parametrize(("inner", "outer", "free"), [("max", "900", 300), ("2000", "900", 300), ("700", "9000", 100)])
def test_the_tightest_group_on_the_way_up_counts(tmp_path: Path, inner: str, outer: str, free: int) -> None:
    v2(tmp_path / "a", outer, 600)
    v2(tmp_path / "a/b", inner, 600)
    assert read(tmp_path, "0::/a/b\n")[0] == free


@pytest.mark.usefixtures("no_proc")
def test_the_memory_controller_of_version_1_counts_without_its_cache(tmp_path: Path) -> None:
    v1(tmp_path / "memory/a", 1000, 700, cache=500)
    v1(tmp_path / "memory", 2**63 - 4096, 700)
    assert read(tmp_path, "5:cpu:/a\n4:memory:/a\n0::/\n") == (800, 1000)


@pytest.mark.usefixtures("no_proc")
def test_no_limit_in_either_version_tells_nothing(tmp_path: Path) -> None:
    v1(tmp_path / "memory", 2**63 - 4096, 700)
    v2(tmp_path, "max", 700)
    assert read(tmp_path, "4:memory:/\n0::/\n") == (None, None)


@pytest.mark.usefixtures("no_proc")
@pytest.mark.parametrize("path", ["/host/only", "/../.."])
def test_a_path_that_is_not_mounted_here_leaves_the_groups_that_are(tmp_path: Path, path: str) -> None:
    v2(tmp_path, "1000", 700)
    assert read(tmp_path, f"0::{path}\n") == (300, 1000)


def test_the_machine_bounds_a_generous_limit(tmp_path: Path) -> None:
    v2(tmp_path, str(2**60), 0)
    free, total = read(tmp_path, "0::/\n")
    assert total is not None
    assert total == psutil.virtual_memory().total
    assert free is not None
    assert 0 < free <= total
