"""`python -m tests.deploy.rehearsal`: every panel and every alert, by a real Prometheus beside real servers.

Six servers, each with a trouble of its own, scraped every second; the rules are those of `deploy/prometheus` with every
duration sixty times shorter. Prints what each panel's queries returned and when each alert fired, with what value; ends
with 1 where a panel without a GPU returned nothing or an alert did not fire. Takes about two minutes where the cores
are free. Needs Debian's package `prometheus`, and isolation for the sandbox.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from deploy.monitoring.alerts import ALERTS, GROUPS
from deploy.monitoring.dashboard import ROWS
from deploy.monitoring.files import RUNBOOKS
from deploy.monitoring.panels import Panel
from deploy.monitoring.prometheus import rule_file
from deploy.monitoring.recorded import RECORDED
from tests.deploy import traffic
from tests.deploy.live import SLOW, Fleet, Prometheus, fleet
from tests.deploy.models import CANARY, SETTINGS, SHADOW, add_rounds, damage
from tests.server.otlp_receiver import receiving

SCALE = 1 / 60
BASELINE_S = 70
"""How long tokens are brisk: the rule looks an hour back, here a minute."""
STALE_S = 95
"""How long the old champion stays: that it is old must hold for an hour, and a hundred signals take their time."""
LIMIT_S = 180
SCRIPTED = '[engine]\ntype = "scripted"\nscript = "{}"\n'
AWAY = "postgresql://touchstone@127.0.0.1:9/touchstone"
"""A database where nobody listens."""
USUAL: dict[traffic.Act, float] = {
    traffic.judged: 0.1,
    traffic.verified: 0.2,
    traffic.typing: 0.5,
    traffic.editing: 0.5,
    traffic.talking: 1.0,
    traffic.leaving: 1.0,
    traffic.hurried: 1.0,
    traffic.told: 5.0,
}
"""What clients do all the time, and their pauses."""
MADE = {
    "TouchstoneDown": "the same server, when it has ended",
    "TouchstoneNoReadyModel": "SIGTERM while a stream runs: it drains",
    "TouchstoneErrorsFast": "PostgreSQL away: feedback on unknown answers is answered 503",
    "TouchstoneErrorsSlow": "the same",
    "TouchstoneSlowTokens": "an engine of 5 ms a token (scripted), then of 50",
    "TouchstoneFirstTokenSlow": "100 clients of an engine that takes 64 at once, 3 s each (scripted)",
    "TouchstoneQueueSaturated": "the bundled model, engine.max_waiting = 1, 12 clients",
    "TouchstoneRateLimited": "limits.requests_per_minute = 5",
    "TouchstoneSandboxFailing": "sandbox.slots = 1, sandbox.max_waiting = 0, 16 candidates a request",
    "TouchstoneIsolationLost": "a server without a sandbox",
    "TouchstoneVerifierMiscalibrated": "the bundled verifier on the bundled model's candidates, by tests of its own",
    "TouchstoneLogFailing": "PostgreSQL away",
    "TouchstoneOutboxFilling": "PostgreSQL away: completions go on",
    "TouchstoneJoinRateLow": "Continue's events, two of three about answers of another server",
    "TouchstoneModelNotServed": "the champion's pointer on a folder with a damaged file",
    "TouchstoneRoundRefused": "an early checkpoint lost its contest",
    "TouchstoneRoundStale": "a champion whose folder is 60 days old, and 100 signals",
    "TouchstoneCanaryWorse": "an early checkpoint as challenger, in a shadow and as a canary",
}
NOT_MADE = {
    "TouchstoneMemoryNearLimit": "no control group to set a limit by; `promtool`, with the series that are exported",
    "TouchstoneGpuMemoryNearLimit": "no GPU here; `promtool`",
}


@dataclass
class Found:
    """What was seen so far."""

    panels: dict[str, list[str]] = field(default_factory=dict)
    """By panel: series and first value of each of its queries, once all of them had some."""
    alerts: dict[str, tuple[float, str, float, str]] = field(default_factory=dict)
    """By alert: seconds, job, value, summary, when it was first seen firing."""
    exemplars: int = 0


def plain(expr: str) -> str:
    """A panel's query with `All` chosen, over half a minute."""
    chosen = re.sub(r"\$(model|round|engine|route)\b", ".*", expr)
    return chosen.replace("$__rate_interval", "30s")


def look(prometheus: Prometheus, found: Found, seconds: float) -> None:
    """Note the panels that have data now and the alerts that fire now, those not seen before."""
    for row in ROWS:
        for panel in row.panels:
            if panel.title in found.panels:
                continue
            values = [prometheus.query(plain(query.expr)) for query in panel.queries]
            if all(values):
                found.panels[panel.title] = [f"{len(each)}: {each[0]:.4g}" for each in values]
    for alert in prometheus.firing():
        if alert.name not in found.alerts and alert.job:  # without one: that nothing was scraped yet
            found.alerts[alert.name] = (seconds, alert.job, alert.value, alert.summary)
            print(f"{seconds:4.0f} s  {alert.name}: {alert.summary}", flush=True)
    if not found.exemplars:
        found.exemplars = prometheus.exemplars("touchstone_request_duration_seconds_bucket")


def start(servers: Fleet, traces: str) -> None:
    """All servers, beside each other; returns when all are ready."""
    script = servers.folder / "script.json"
    script.write_text(json.dumps({"hello": ["first"]}))
    answers = SCRIPTED.format(script)
    add_rounds(servers.folder / "main" / "state")
    servers.start("main", SETTINGS, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{traces}/v1/traces")
    crowded = '[engine]\ndtype = "int8"\nmax_waiting = 1\n[sandbox]\nslots = 1\nmax_waiting = 0\n'
    servers.start("crowded", crowded)
    servers.start("slow", "", SLOW)
    servers.start("late", "", SLOW)
    servers.start("draining", "[server]\ndrain_s = 300\n", SLOW)
    servers.start("broken", answers + f'[feedback]\ndatabase_url = "{AWAY}"\n')
    servers.start("limited", answers + "[limits]\nrequests_per_minute = 5\n[sandbox]\nenabled = false\n")
    for server in servers.servers.values():
        server.wait()


class Troubles:
    """Traffic and trouble: tasks that go on until all is over, begun one after another where one needs the other."""

    def __init__(self, servers: Fleet) -> None:
        self._servers = servers
        self._began = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []

    def go(self, name: str, act: traffic.Act, pause_s: float, clients: int = 1) -> asyncio.Task[None]:
        """Let clients act on a server until the end, or until the task is cancelled."""
        task = asyncio.create_task(traffic.repeat(self._servers[name].url, act, pause_s=pause_s, clients=clients))
        self._tasks.append(task)
        return task

    async def run(self) -> None:
        """Everything in its turn."""
        for act, pause_s in USUAL.items():
            self.go("main", act, pause_s)
        brisk = self.go("slow", traffic.scripted("brisk"), 0.2, 4)
        self.go("late", traffic.scripted("late"), 0.0, 100)
        self.go("broken", traffic.unlogged, 0.2)
        self.go("limited", traffic.scripted("hello"), 0.2)
        self.go("draining", traffic.scripted("endless"), 60.0)
        await asyncio.sleep(2)
        self._servers["draining"].process.send_signal(signal.SIGTERM)
        crowd = self.go("crowded", traffic.crowding, 0.0, 12)
        await asyncio.sleep(20)
        crowd.cancel()
        for model, mode in ((SHADOW, "shadow"), (CANARY, "canary")):
            await self.contest(model, mode)
        await self._until(BASELINE_S)
        brisk.cancel()
        self.go("slow", traffic.scripted("slow"), 0.0, 24)
        await self._until(STALE_S)
        await asyncio.to_thread(damage, self._servers["main"].folder / "state")

    async def _until(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, self._began + seconds - time.monotonic()))

    async def contest(self, model: str, mode: str) -> None:
        """A challenger, until it is decided. Raises `RuntimeError` where it is refused as such, or never decided."""
        async with httpx.AsyncClient(base_url=self._servers["main"].url, timeout=60) as main:
            body = {"action": "challenge", "id": model, "mode": mode, "share": 1.0 if mode == "shadow" else 0.5}
            reply = await main.post("/admin/models", json=body)
            if reply.status_code != 200:
                raise RuntimeError(f"{mode}: {reply.text}")
            for _ in range(120):
                await asyncio.sleep(0.5)
                if (await main.get("/admin/models")).json().get("contest") is None:
                    return
        raise RuntimeError(f"the {mode} came to no end in a minute")

    async def stop(self) -> None:
        """End all clients. Raises what one of them met that it should not."""
        for task in self._tasks:
            task.cancel()
        for met in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(met, Exception):
                raise met


async def rehearse(folder: Path) -> Found:
    """The whole of it; what was found."""
    found = Found()
    with receiving() as traces, fleet(folder) as servers:
        start(servers, traces.url)
        prometheus = servers.prometheus(rule_file((RECORDED, *GROUPS), RUNBOOKS, scale=SCALE))
        prometheus.wait()
        print(f"{len(servers.servers)} servers are ready; Prometheus looks every second", flush=True)
        troubles, began = Troubles(servers), time.monotonic()
        running = asyncio.create_task(troubles.run())
        try:
            while (seconds := time.monotonic() - began) < LIMIT_S and not complete(found):
                await asyncio.to_thread(look, prometheus, found, seconds)
                if running.done():
                    running.result()
                await asyncio.sleep(1)
        finally:
            running.cancel()
            await troubles.stop()
    return found


def wanted_panels() -> list[Panel]:
    """Those that need no GPU."""
    return [panel for row in ROWS for panel in row.panels if not panel.gpu]


def complete(found: Found) -> bool:
    """Whether there is nothing left to see."""
    seen = {*found.panels} >= {panel.title for panel in wanted_panels()}
    return seen and {*found.alerts} >= {*MADE} and found.exemplars > 0


def report(found: Found) -> str:
    """Two tables."""
    lines = ["| row | panel | series and first value, a query |", "|---|---|---|"]
    for row in ROWS:
        for panel in row.panels:
            nothing = "(no GPU here)" if panel.gpu else "**nothing**"
            lines.append(f"| {row.title} | {panel.title} | {'; '.join(found.panels.get(panel.title, [nothing]))} |")
    lines += ["", "| alert | condition | fired after | value | job: summary |", "|---|---|---|---|---|"]
    for alert in ALERTS:
        if alert.name in found.alerts:
            seconds, job, value, summary = found.alerts[alert.name]
            seen = f"{seconds:.0f} s | {value:.4g} | {job}: {summary}"
        else:
            seen = "not rehearsed | | " if alert.name in NOT_MADE else "**not** | | "
        lines.append(f"| {alert.name} | {(MADE | NOT_MADE)[alert.name]} | {seen} |")
    return "\n".join([*lines, "", f"Exemplars of request durations: {found.exemplars}"])


def main() -> None:
    """Rehearse, print, and say by the exit code whether all was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to leave logs and databases; a temporary one otherwise")
    args = parser.parse_args()
    if shutil.which("prometheus") is None:
        sys.exit("no prometheus here: apt-get install prometheus")
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = asyncio.run(rehearse(folder))
    print(report(found))
    sys.exit(0 if complete(found) else 1)


if __name__ == "__main__":
    main()
