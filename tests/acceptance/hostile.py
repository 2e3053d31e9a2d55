"""Requests that a program makes up from the OpenAPI document, right and wrong ones: none may be a 5xx, none may hang.

    python -m tests.acceptance.hostile                               50,000 cases, a tier of its own
    python -m tests.acceptance.hostile --cases 5000 --minutes 2      a try: stops at whichever comes first

A real server on a scripted engine, with the sandbox; Schemathesis (in `.clients/`) makes the requests. The exit code is
Schemathesis's own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
SCHEMATHESIS = ROOT / ".clients/venv/bin/st"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
TIMEOUT_S = 60


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=50_000)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "script.json").write_text(json.dumps({"hello": ["first"], "*": ["    return 1\n"]}))
        config = f'[engine]\ntype = "scripted"\nscript = {json.dumps(str(folder / "script.json"))}\n'
        (folder / "touchstone.toml").write_text(config)
        command = [sys.executable, "-m", "touchstone", "serve", "--port", "0"]
        command += ["--config", str(folder / "touchstone.toml"), "--state-dir", str(folder / "state")]
        with (folder / "stderr").open("w+") as errors:
            server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
            try:
                status = _fire(_url(server), folder, args.cases, args.minutes, args.seed)
            finally:
                server.terminate()
                ended = server.wait(timeout=60)
            errors.seek(0)
            said = errors.read()
        if ended or "Traceback" in said:
            print(f"the server ended with {ended} and said:\n{said[-5000:]}")
            return 1
        return status


def _fire(url: str, folder: Path, cases: int, minutes: float, seed: int) -> int:
    operations = sum(len(methods) for methods in httpx.get(f"{url}/openapi.json").json()["paths"].values())
    ended = subprocess.run(
        [
            *(str(SCHEMATHESIS), "run", f"{url}/openapi.json", "--phases", "coverage,fuzzing", "--checks", CHECKS),
            *("--max-examples", str(max(1, cases // operations)), "--max-time", str(round(60 * minutes))),
            *("--seed", str(seed), "--request-timeout", str(TIMEOUT_S), "--continue-on-failure", "--no-color"),
            *("--suppress-health-check", "all", "--warnings", "off"),
        ],
        cwd=folder,
        check=False,
    )
    assert httpx.get(f"{url}/ready").status_code == 200, "the server is not ready any more"
    return ended.returncode


def _url(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    for line in server.stdout:
        if line.startswith("serving "):
            return line.split(" on ")[1].split(" ")[0]
    raise SystemExit("the server did not start")


if __name__ == "__main__":
    sys.exit(main())
