"""Build images and try them in containers: `make test-image` (root; Debian's buildah, podman, runc, mmdebstrap).

    python -m tests.deploy.image                       the serving image, in a temporary folder
    python -m tests.deploy.image --storage DIR         the same, keeping what was built for the next time
    python -m tests.deploy.image --stage train --stage ray       these too, and what each is started with

The base image is made here of the same Debian packages under the base's name, since there may be no registry. The
container runs as its own user without capabilities, on a read-only root, under `deploy/seccomp.json`. Prints the size
of each stage and the seconds from its start to `/ready`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from bench.process import free_port
from deploy.seccomp import profile
from tests.deploy.containers import ROOT, Images, base_name, missing

USER = 10_001
PROFILE = ROOT / "deploy" / "seccomp.json"
DEFAULT = Path("/usr/share/containers/seccomp.json")
START_S = 120.0
TRIED = {
    # As the CronJob starts it; there is no log yet, so no round either.
    "train": ("touchstone train watch --once --min-groups 500 --state-dir /tmp/state", "no log yet"),
    # As KubeRay starts a head and asks how it is; and what it then imports.
    "ray": (
        "ray start --head --num-cpus=0 --dashboard-host=0.0.0.0 && python -c 'import server.on_ray' && sleep 5"
        " && wget --tries 1 -T 5 -q -O- http://localhost:52365/api/local_raylet_healthz",
        "success",
    ),
    "gpu": ("touchstone version && python -c 'import vllm; print(vllm.__version__)'", "0.32"),
}
"""By stage what its containers do, and a word of what is printed then; what needs a GPU is not tried."""
PROMPT = 'def add(a, b):\n    """Return the sum of a and b."""\n'


def main() -> int:
    """Build, try, and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", type=Path, help="a folder to keep images in; a temporary one if not given")
    parser.add_argument("--stage", action="append", choices=TRIED, help="another stage than `serve`; several times")
    args = parser.parse_args()
    if (why := missing()) is not None:
        print(f"not run: {why}")
        return 1
    if args.storage is not None:
        return run(args.storage.resolve(), args.stage or [])
    with tempfile.TemporaryDirectory(prefix="ts-image-") as folder:
        return run(Path(folder), args.stage or [])


def run(folder: Path, stages: list[str]) -> int:
    """All of it, with images kept in a folder; the exit code."""
    images = Images(folder)
    try:
        return attempt(images, folder, stages)
    finally:
        images.close()


def attempt(images: Images, folder: Path, stages: list[str]) -> int:
    """Build, measure and try; the exit code."""
    timed("base image", images.make_base)
    built = {stage: timed(f"stage {stage}", partial(images.build, stage)) for stage in ["serve", *stages]}
    for stage, name in built.items():
        print(f"{stage:24}{images.inspect(name)['Size'] / 1e6:8.0f} MB of layers")
    print(f"{'of which the base':24}{images.inspect(base_name())['Size'] / 1e6:8.0f} MB")
    for stage in stages:
        tried(images, built[stage], stage)
    tiers(images, built["serve"], folder)
    state = folder / "state"
    state.mkdir()
    try:
        state.chmod(0o777)
        for start in ("first start", "later start"):
            with serving(images, built["serve"], state, start) as (client, name):
                smoke(images, client, name)
    finally:
        subprocess.run(["rm", "-rf", str(state)], check=True)  # another user's files
    print("smoke test passed")
    return 0


def tried(images: Images, name: str, stage: str) -> None:
    """Start a stage's container as it will be started, but for what only a cluster or a GPU can give."""
    command, expected = TRIED[stage]
    options = ("--rm", "--env", "HOME=/tmp", "--entrypoint", "/bin/bash")
    done = subprocess.run(
        [*images.run_command(name, *options), "-c", command], capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert expected in said, said
    print(f"{stage:24} starts")


def tiers(images: Images, name: str, folder: Path) -> None:
    """Print the sandbox's tier under our profile, and under one that refuses what Docker's default does."""
    docker = folder / "docker.json"
    docker.write_text(json.dumps(profile(json.loads(DEFAULT.read_text()), ())))
    expected = {
        "deploy/seccomp.json": (f"seccomp={PROFILE}", "tier A"),
        "as Docker's default": (f"seccomp={docker}", "tier B"),
    }
    for what, (option, tier) in expected.items():
        command = images.run_command(name, "--rm", "--security-opt", option)
        done = subprocess.run([*command, "sandbox", "probe"], capture_output=True, text=True, check=True)
        print(f"{what:24}{done.stdout.splitlines()[0]:>8}")
        assert done.stdout.startswith(tier), done.stdout + done.stderr


@contextmanager
def serving(images: Images, image: str, state: Path, what: str) -> Iterator[tuple[httpx.Client, str]]:
    """A server in a container that is ready, asked with a key; ended by SIGTERM, upon which it must end well."""
    volume = ("--volume", f"{state}:/var/lib/touchstone", "--security-opt", f"seccomp={PROFILE}")
    scopes = [word for scope in ("completions", "rerank:tests", "metrics") for word in ("--scope", scope)]
    made = subprocess.run(
        [*images.run_command(image, "--rm", *volume), "keys", "create", "smoke", *scopes],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    key = made.stdout.strip()
    port, name = free_port(), f"touchstone-{time.monotonic_ns()}"
    command = images.run_command(image, "--name", name, "--env", f"TOUCHSTONE_SERVER__PORT={port}", *volume)
    began = time.perf_counter()
    process = subprocess.Popen(command)
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"}, timeout=60
        ) as client:
            until(lambda: answers(client), "/ready")
            print(f"{what:24}{time.perf_counter() - began:8.1f} s to ready")
            yield client, name
        assert process.wait(60) == 0, f"the container ended with {process.returncode}"
    finally:
        images.podman("rm", "--force", "--time", "0", name)
        process.wait()


def smoke(images: Images, client: httpx.Client, name: str) -> None:
    """Health, a completion, one that tests decide, metrics, who it runs as; then SIGTERM while it works."""
    assert images.podman("exec", name, "id", "-u").strip() == str(USER)
    assert images.podman("healthcheck", "run", name).strip() in ("", "healthy")
    ready = client.get("/ready").json()
    assert ready["isolation"]["tier"] == "A", ready
    plain = answer(client, {"prompt": PROMPT, "max_tokens": 32, "temperature": 0, "rerank": {"method": "off"}})
    assert "return" in plain["choices"][0]["text"], plain
    tests = {"code": "assert add(2, 3) == 5\nassert add(-1, 1) == 0"}
    chosen = answer(client, {"prompt": PROMPT, "rerank": {"num_candidates": 16, "tests": tests}})
    assert chosen["choices"][0]["rerank"]["class"] == "pass", chosen
    page = client.get("/metrics").text
    assert 'touchstone_sandbox_info{tier="A"} 1.0' in page, page
    drains(images, client, name)


def drains(images: Images, client: httpx.Client, name: str) -> None:
    """SIGTERM while a request runs: newcomers are refused, and it still gets its whole answer."""
    body = {"prompt": PROMPT, "max_tokens": 512, "n": 1, "rerank": {"method": "likelihood", "num_candidates": 64}}
    replies: list[dict[str, Any]] = []
    asking = threading.Thread(target=lambda: replies.append(answer(client, body)))
    asking.start()
    until(lambda: "touchstone_requests_running 0.0" not in client.get("/metrics").text, "work")
    images.podman("kill", "--signal", "TERM", name)
    until(lambda: client.get("/ready").status_code == 503, "draining")
    refused = client.post("/v1/completions", json={"prompt": PROMPT, "max_tokens": 1})
    assert refused.status_code == 503, refused.text
    asking.join(60)
    assert len(replies) == 1


def answer(client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    """The reply to a completion."""
    reply = client.post("/v1/completions", json=body)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def answers(client: httpx.Client) -> bool:
    """Whether it is ready."""
    try:
        return client.get("/ready").status_code == 200
    except httpx.TransportError:
        return False


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for it."""
    end = time.monotonic() + START_S
    while not condition():
        assert time.monotonic() < end, f"no {what} in {START_S:.0f} s"
        time.sleep(0.02)


def timed(what: str, act: Callable[[], Any]) -> Any:
    """Do it and print how long it took."""
    began = time.perf_counter()
    result = act()
    print(f"{what:24}{time.perf_counter() - began:8.1f} s to make", flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
