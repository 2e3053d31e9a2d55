"""What runs inside the isolation: shipped as source text to a fresh interpreter, never imported from disk there.

Every module here is self-contained: standard library, and each other in the order of `MODULES`. The serving process
imports only `codec` (both sides must agree on it), `seccomp` (its architectures) and `suite` (which reads test code).
"""

MODULES = (
    "codec",
    "execute",
    "system",
    "landlock",
    "syscalls",
    "seccomp",
    "root",
    "pytest_shapes",
    "suite",
    "packed",
    "opaque",
    "link",
    "printed",
    "pytest_standin",
    "groups",
    "judge",
    "candidate",
    "weak",
    "used",
    "confine",
    "ahead",
    "zygote",
    "warm",
    "serve",
)
"""The modules in the order in which a fresh interpreter executes them."""

__all__ = ["MODULES"]
