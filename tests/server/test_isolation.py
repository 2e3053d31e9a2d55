"""The real sandbox as the server builds it: which tiers it may take, and what is said of a weaker one."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from sandbox import Tier
from server.build import build_sandbox, isolation_of
from server.config import Config, SandboxConfig


async def test_the_tiers_of_the_configuration_are_the_acceptable_ones(tmp_path: Path) -> None:
    for tier in ("A", "B"):
        sandbox, isolation = await build_sandbox(Config(state_dir=tmp_path, sandbox=SandboxConfig(tiers=(tier,))))
        assert isolation.tier in (tier, None)
        if sandbox is None:
            assert isolation.reasons
        else:
            await sandbox.aclose()


async def test_an_interpreter_that_is_not_there_is_no_isolation(tmp_path: Path) -> None:
    config = Config(state_dir=tmp_path, sandbox=SandboxConfig(python="/nowhere/python3"))
    sandbox, isolation = await build_sandbox(config)
    assert (sandbox, isolation.tier) == (None, None)
    assert "/nowhere/python3" in isolation.reasons[0]


def test_a_weaker_tier_is_said_with_its_reasons(caplog: pytest.LogCaptureFixture) -> None:
    refused, fixes = ("tier A: unshare: Operation not permitted",), ("allow user namespaces",)
    with caplog.at_level(logging.WARNING):
        isolation = isolation_of(Tier("B", (), refused, fixes))
    assert (isolation.tier, isolation.reasons, isolation.how_to_fix) == ("B", refused, fixes)
    assert "tier B only" in caplog.text
    assert "Operation not permitted" in caplog.text
    assert "to fix: allow user namespaces" in caplog.text
    caplog.clear()
    isolation_of(Tier("A", ()))
    assert not caplog.text


def test_tiers_stand_strongest_first() -> None:
    assert SandboxConfig(tiers=("B", "A")).tiers == ("A", "B")
