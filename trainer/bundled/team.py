"""Data-parallel training over processes of one thread each.

Two processes that meet once a step beat two OpenMP threads that meet at every operation, above all where the cores are
shared with other work: a thread that waits for a descheduled partner stalls the whole operation.
"""

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from trainer.errors import TrainerError

PATIENCE = timedelta(minutes=10)  # how long a process waits for the others before it gives up


@dataclass(frozen=True)
class Team:
    """A process's place among those that train one model; alone by default."""

    rank: int = 0
    size: int = 1

    def average_gradients(
        self, parameters: list[torch.nn.Parameter], elapsed_s: float, tokens: int
    ) -> tuple[float, int]:
        """Average the gradients of all processes in place.

        Returns the leader's clock and the tokens of all, so that every process follows the same schedule.
        """
        if self.size == 1:
            return elapsed_s, tokens
        gradients = [p.grad for p in parameters if p.grad is not None]
        counters = torch.tensor([elapsed_s if self.rank == 0 else 0.0, float(tokens)])
        flat = torch.cat([gradient.flatten() for gradient in gradients] + [counters])
        dist.all_reduce(flat)
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            gradient.div_(self.size)
            start += gradient.numel()
        return float(flat[-2]), round(float(flat[-1]))

    def meet(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier()

    def share(self, matrices: list[torch.nn.Parameter]) -> list[torch.nn.Parameter]:
        """Return the part of the matrices whose update this process computes."""
        return matrices[self.rank :: self.size]

    @torch.no_grad()
    def gather(self, matrices: list[torch.nn.Parameter]) -> None:
        """Give every process the matrices that the others have updated."""
        if self.size == 1:
            return
        for index, matrix in enumerate(matrices):
            dist.broadcast(matrix.data, src=index % self.size)


def _join(team: Team, rendezvous: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{rendezvous}", rank=team.rank, world_size=team.size, timeout=PATIENCE
    )


def _follow(work: Callable[[Team], None], team: Team, rendezvous: str) -> None:
    _join(team, rendezvous)
    try:
        with suppress(TrainerError):  # the leader meets the same, and says so
            work(team)
    finally:
        dist.destroy_process_group()


@contextmanager
def assembled(size: int, work: Callable[[Team], None]) -> Iterator[Team]:
    """Run `work` in `size - 1` further processes and give this one, the leader, its place.

    `work` must be picklable and take part in every step the leader takes.
    """
    if size == 1:
        torch.set_num_threads(1)
        yield Team()
        return
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        rendezvous = str(Path(folder) / "rendezvous")
        followers = [
            context.Process(target=_follow, args=(work, Team(rank, size), rendezvous), daemon=True)
            for rank in range(1, size)
        ]
        for follower in followers:
            follower.start()
        _join(Team(0, size), rendezvous)
        try:
            yield Team(0, size)
            for follower in followers:
                follower.join()
        finally:
            for follower in followers:
                follower.terminate()
            dist.destroy_process_group()
