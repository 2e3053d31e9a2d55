"""What `touchstone doctor` found, as a page for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.text import Text

from server.doctor_store import described

_WIDTH = 12
_GOOD, _FAIR, _BAD = "green", "yellow", "red"


def print_page(found: dict[str, Any]) -> None:
    """Print it; coloured on a terminal only."""
    page = _Page()
    page.line("touchstone", found["touchstone"])
    page.line("python", f"{found['python']['version']} ({found['python']['executable']})")
    host = found["host"]
    page.line("host", f"{host['system']}, {host['cores']} cores, {host['memory_bytes'] / 2**30:.1f} GiB of memory")
    _sandbox(page, found["sandbox"])
    reason = found["cgroup"]["problem"]
    if reason is None:
        page.line("cgroup", "groups can be made: a run's memory is bounded as a whole", _GOOD)
    else:
        page.line("cgroup", f"none can be made ({reason}): each process has its own bound only", _FAIR)
    _languages(page, found)
    engine, model = found["engine"], found["model"]
    libraries = ", ".join(f"{name} {version or 'not installed'}" for name, version in engine["libraries"].items())
    page.line("engine", engine["problem"] or engine["type"], _BAD if engine["problem"] else _GOOD)
    page.more((f"libraries: {libraries}",))
    others = found.get("engines", {}).items()
    page.more(f"{name}: {look['text']}: {look['fix']}" for name, look in others if look["fix"])
    page.line("model", model["problem"] or model["name"], _BAD if model["problem"] else _GOOD)
    if model["folder"]:
        page.more((model["folder"], f"conversions: {', '.join(model['conversions']) or 'none'}"))
    log = found["log"]
    page.line("log", described(log), _BAD if log["problem"] else _FAIR if log["outbox"] else _GOOD)
    page.more(f"to fix: {fix}" for fix in log["how_to_fix"])
    for name in ("choice", "dtype", "fim", "upstream", "disk", "gpu", "keys", "port", "telemetry"):
        _look(page, name, found.get(name))
    if found["serves_with_tests"]:
        page.line("", "Serving with tests works: touchstone serve", _GOOD)
    else:
        page.line("", "Serving with tests does not work yet; see above.", _BAD)


def _sandbox(page: _Page, found: dict[str, Any]) -> None:
    if found["tier"] is None:
        page.line("sandbox", "untrusted code cannot be isolated, so nothing is tested", _BAD)
        page.more([found["problem"]])
    else:
        weaker = found["stronger_refused"]
        page.line("sandbox", f"tier {found['tier']}{' only' if weaker else ''}", _FAIR if weaker else _GOOD)
        facts = found["facts"]
        page.more([f"tried from inside, {len(facts) - 2} ways; Landlock ABI {facts['landlock_abi']}"])
        page.more(f"not a stronger one: {reason}" for reason in weaker)
    for node in found.get("nodes", ()):
        page.more([f"Ray's node {node['host']}: " + (node["problem"] or f"tier {node['tier']}")])
    page.more(f"to fix: {fix}" for fix in found["how_to_fix"])


def _look(page: _Page, name: str, look: dict[str, Any] | None) -> None:
    """One look of `doctor_checks`; nothing where it was not made."""
    if look is None:
        return
    page.line(name, look["text"], _BAD if look["problem"] else _FAIR if look["fix"] else _GOOD)
    if look["fix"]:
        page.more([f"to fix: {look['fix']}"])


def _languages(page: _Page, found: dict[str, Any]) -> None:
    languages = found["languages"]
    missing = {name: each for name, each in languages.items() if each["problem"]}
    here = ", ".join(name for name in languages if name not in missing)
    page.line("languages", here, _GOOD)
    page.more(f"{name}: {each['problem']}: {'; '.join(each['how_to_fix'])}" for name, each in missing.items())
    if found["sandbox"]["tier"] not in ("A", None):
        page.more(["languages other than Python need tier A"])


class _Page:
    def __init__(self) -> None:
        self._console = Console(soft_wrap=True)

    def line(self, name: str, text: str, style: str = "") -> None:
        self._console.print(Text.assemble(f"{name:<{_WIDTH}}", (text, style)))

    def more(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._console.print(Text(f"{'':<{_WIDTH}}{line}"))
