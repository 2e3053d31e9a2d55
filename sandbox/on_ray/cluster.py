"""The seam to Ray: joining a cluster, asking it with patience, and which of Ray's errors mean that a worker is lost.

Ray is imported here, when a cluster is joined, and nowhere before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sandbox.errors import SandboxUnavailable

T = TypeVar("T")

NOT_INSTALLED = SandboxUnavailable(("Ray is not installed",), ("pip install 'touchstone[ray]'",))
_REACH_S = 5.0
_FOREVER = "1000000000"
HOW_TO_START = (
    "start it: `ray start --head --num-cpus=N` on one host, `ray start --address=HOST:6379` on this and the others",
)


def join(address: str, *, outlive: bool = True) -> bool:
    """Make this process one of the cluster's; blocks. False where it was one already, as within Ray Serve.

    `outlive`: live on where the cluster goes away. Raises `SandboxUnavailable` with what to do: no Ray, no cluster
    there, another version of Ray or Python.
    """
    if outlive:  # else Ray ends a process that did not reach its cluster for a minute
        os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", _FOREVER)
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # else any call would start a cluster where there is none
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise NOT_INSTALLED from error
    if ray.is_initialized():
        return False
    _reach(address)
    try:
        ray.init(address, log_to_driver=False, logging_level="ERROR", configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError, OSError, TimeoutError) as error:
        raise _unavailable(address, error) from error
    return True


def restore_signals() -> None:
    """Let SIGTERM go to whom it went before Ray, which writes a trace and ends the process. For the main thread."""
    if threading.current_thread() is threading.main_thread():
        handler = signal.getsignal(signal.SIGTERM)
        if handler is not None:  # else it is no business of Python's
            signal.signal(signal.SIGTERM, handler)


def leave() -> None:
    """Undo `join`; blocks. What this process started on the cluster ends."""
    import ray

    ray.shutdown()


@contextlib.contextmanager
def joined(address: str) -> Iterator[None]:
    """Be one of the cluster's processes for the length of a `with` block, and end where it is away for a minute.

    Raises as `join`.
    """
    own = join(address, outlive=False)
    restore_signals()
    try:
        yield
    finally:
        if own:
            leave()


def hire(worker: type, slots: int, avoid: Sequence[str], *args: object) -> Any:
    """An actor of this class with so many CPUs of a node not to be avoided; it is pending until one has them."""
    import ray

    place: dict[str, Any] = {"scheduling_strategy": "SPREAD"}  # so that a lost node takes few of them along
    if avoid:
        place = {"label_selector": {"ray.io/node-id": f"!in({','.join(avoid)})"}}
    return ray.remote(worker).options(num_cpus=slots, max_restarts=0, **place).remote(*args)


def visit(worker: type, node: str, *args: object) -> Any:
    """An actor of this class on this node, whatever runs there."""
    import ray

    place = {"label_selector": {"ray.io/node-id": node}}
    return ray.remote(worker).options(num_cpus=0, max_restarts=0, **place).remote(*args)


def nodes(slots: int) -> dict[str, str]:
    """The living nodes of at least so many CPUs: id and host's name. Blocks. Raises whatever it is where none answers.

    The head is knocked at first: a question that is open when another cluster starts at the same address ends the
    process ("WrongClusterID", a failed check of Ray's own).
    """
    import ray

    _reach(ray.get_runtime_context().gcs_address)
    return {
        node["NodeID"]: node["NodeManagerHostname"]
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0) >= slots
    }


def dismiss(actor: Any) -> None:
    """End an actor, wherever it is, and whatever it does."""
    import ray

    ray.kill(actor)


def cancel(call: Any) -> None:
    """Cancel a call of an actor's method; one that has ended does not mind."""
    import ray

    ray.cancel(call)


def is_lost(error: BaseException) -> bool:
    """Whether Ray says that a worker died, cannot be reached, or that its answer was lost with it."""
    from ray import exceptions

    return isinstance(
        error,
        (
            exceptions.RayActorError,
            exceptions.NodeDiedError,
            exceptions.ObjectLostError,
            exceptions.RpcError,
            exceptions.WorkerCrashedError,
        ),
    )


async def patiently(act: Callable[[], T], seconds: float) -> T:
    """Do what may block for ever, in a thread that holds up nobody's end. Raises `TimeoutError`, and its error."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(value: T | None, error: Exception | None) -> None:
        if not done.done():
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(value)  # type: ignore[arg-type]

    def work() -> None:
        value, failure = None, None
        try:
            value = act()
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            failure = error
        try:
            loop.call_soon_threadsafe(tell, value, failure)
        except RuntimeError:  # the loop was closed: nobody waits any more
            return

    threading.Thread(target=work, name="ray", daemon=True).start()
    return await asyncio.wait_for(done, seconds)


def _reach(address: str) -> None:
    """Knock first: Ray itself tries for a minute, and says less."""
    host, colon, port = address.rpartition(":")
    if not colon or "://" in address:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_S).close()
    except (OSError, ValueError) as error:
        raise _unavailable(address, error) from error


def _unavailable(address: str, error: Exception) -> SandboxUnavailable:
    said = " ".join(str(error).split())
    if "ersion mismatch" in said:
        here = f"Python {'.'.join(map(str, sys.version_info[:3]))}"
        fix = f"install the same versions of Ray and Python on every node (here: {here})"
        return SandboxUnavailable((f"the Ray cluster at {address} is of another version: {said[:500]}",), (fix,))
    return SandboxUnavailable((f"no Ray cluster can be joined at {address}: {said[:500]}",), HOW_TO_START)
