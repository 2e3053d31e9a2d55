"""Prometheus' own checker: Debian's package `prometheus` has it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from server.metrics import Metrics

METERS = {meter.full_name: meter for meter in Metrics().meters}
"""Every metric of a server, by the name it is scraped by."""
needed = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here: apt-get install prometheus")


def check(*arguments: str | Path) -> None:
    """Run `promtool`; what it says is the failure's text."""
    ended = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def write(path: Path, page: Any) -> Path:
    """JSON, which is YAML."""
    path.write_text(json.dumps(page))
    return path
