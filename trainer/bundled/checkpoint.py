"""What a run keeps to go on from: one state a process and report, of which only complete sets count.

A process that dies between two writes leaves a set that lacks a part; the set before it is still whole, because it is
removed only once every process has written the new one.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainer.bundled.team import Team
from trainer.errors import OtherRun

NAME = re.compile(r"state-(\d+)\.(\d+)-of-(\d+)")


@dataclass(frozen=True)
class States:
    """The states in a folder, for one process of a team. `plan` says what a run is: another's state is refused."""

    folder: Path
    team: Team
    plan: dict[str, Any]

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write this process's part; through a temporary file, so that a crash leaves no half of one."""
        path = self._path(step)
        partial = path.with_name(f".{path.name}.partial")
        torch.save({"plan": self.plan, **state}, partial)
        partial.rename(path)
        self.team.meet()
        for other, rank, _ in self._found():
            if other < step and rank == self.team.rank:
                self._path(other).unlink()

    def load(self) -> dict[str, Any] | None:
        """The newest state of which every process has its part; `None` if there is none.

        Raises:
            OtherRun: it was written by a run with another plan or another number of processes.
        """
        found = self._found()
        sizes = {size for _, _, size in found}
        if sizes and sizes != {self.team.size}:
            raise OtherRun(f"{self.folder} was written by {min(sizes)} processes, not {self.team.size} (--threads)")
        steps = [step for step, _, _ in found]
        whole = [step for step in set(steps) if steps.count(step) == self.team.size]
        self.team.meet()  # nobody removes or writes a state while another still looks
        if not whole:
            return None
        state: dict[str, Any] = torch.load(self._path(max(whole)), weights_only=True)
        for name, value in self.plan.items():
            if state["plan"].get(name) != value:
                raise OtherRun(f"{self.folder} was written with {name} {state['plan'].get(name)}, not {value}")
        return state

    def _path(self, step: int) -> Path:
        return self.folder / f"state-{step:06}.{self.team.rank}-of-{self.team.size}"

    def _found(self) -> list[tuple[int, int, int]]:
        """(step, rank, size) of every state in the folder."""
        matches = [NAME.fullmatch(path.name) for path in self.folder.iterdir()]
        return [(int(match[1]), int(match[2]), int(match[3])) for match in matches if match]
