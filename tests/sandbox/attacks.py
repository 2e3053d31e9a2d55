"""Programs that try to pass without solving the problem, to get out, or to do harm; and what each must come to.

The problem is `f(x) == x + 1`. `FORGERIES` go for the verdict, `HARMS` for the host.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sandbox import Limits, Status

EARLY, RAISED, WRONG = Status.EARLY_EXIT, Status.RUNTIME_ERROR, Status.WRONG_ANSWER
UNSUPPORTED, PROTOCOL, MEMORY = Status.UNSUPPORTED_VALUE, Status.PROTOCOL_ERROR, Status.MEMORY_LIMIT
CPU, WALL, KILLED, OUTPUT = Status.TIMEOUT_CPU, Status.TIMEOUT_WALL, Status.KILLED, Status.OUTPUT_LIMIT

BRISK = Limits(cpu_s=3, wall_s=15, test_cpu_s=0.2, test_wall_s=5, memory_bytes=128 * 2**20)
WAITING = Limits(cpu_s=3, wall_s=15, test_cpu_s=1, test_wall_s=0.4)


@dataclass(frozen=True)
class Attack:
    """A program and the status of its first test, or of the run when no test ran."""

    name: str
    source: str
    expected: tuple[Status, ...]
    limits: Limits = field(default=BRISK)
    raises: str | None = None
    """The exception that shows that the attack itself was denied, not merely its program broken."""


ALWAYS_EQUAL = """
class Yes{base}:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return self
    def __sub__(self, other): return self
    def __abs__(self): return self
    def __bool__(self): return True
    def __hash__(self): return 1
def f(x): return Yes({arguments})
"""

FRAMES = """
import json, os, struct
def frame(message):
    body = json.dumps(message).encode()
    return struct.pack('>I', len(body)) + body
"""

FORGERIES = (
    Attack("leaves at import", "import os\nos._exit(0)", (EARLY,)),
    Attack("leaves in the call", "import os\ndef f(x): os._exit(0)", (EARLY,)),
    Attack("raises SystemExit at import", "raise SystemExit(0)", (RAISED,)),
    Attack("raises SystemExit in the call", "import sys\ndef f(x): sys.exit(0)", (RAISED,)),
    Attack("quits", "def f(x): raise KeyboardInterrupt", (RAISED,)),
    Attack("always equal object", ALWAYS_EQUAL.format(base="", arguments=""), (UNSUPPORTED,)),
    Attack("always equal int", ALWAYS_EQUAL.format(base="(int)", arguments="0"), (UNSUPPORTED,)),
    Attack("always equal str", ALWAYS_EQUAL.format(base="(str)", arguments=""), (UNSUPPORTED,)),
    Attack("always equal list", ALWAYS_EQUAL.format(base="(list)", arguments=""), (UNSUPPORTED,)),
    Attack(
        "always equal float inside",
        ALWAYS_EQUAL.format(base="(float)", arguments="0").replace("return Yes(0)", "return [Yes(0)]"),
        (UNSUPPORTED,),
    ),
    Attack("generator", "def f(x): yield x + 1", (UNSUPPORTED,)),
    Attack("function", "def f(x): return f", (UNSUPPORTED,)),
    Attack("itself inside itself", "def f(x):\n    a = []\n    a.append(a)\n    return a", (UNSUPPORTED,)),
    Attack(
        "lies about its type",
        "class Lie:\n    __class__ = int\n    def __eq__(s, o): return True\ndef f(x): return Lie()",
        (UNSUPPORTED,),
    ),
    Attack("not a number", "def f(x): return float('nan')", (WRONG,)),
    Attack("true for two", "def f(x): return True", (WRONG,)),
    Attack(
        "patches the builtins",
        "import builtins\nfor name in ('isinstance', 'len', 'abs', 'all', 'any', 'repr'):\n    setattr(builtins, name, lambda *a: True)\nbuiltins.AssertionError = ValueError\ndef f(x): return 0",
        (WRONG, RAISED, EARLY, UNSUPPORTED, PROTOCOL),
    ),
    Attack(
        "patches type",
        "import builtins\nbuiltins.type = lambda *a: int\ndef f(x): return object()",
        (RAISED, EARLY, UNSUPPORTED, PROTOCOL),
    ),
    Attack(
        "patches json",
        "import json\njson.dumps = lambda *a, **k: '{\"passed\": true}'\ndef f(x): return 0",
        (WRONG, PROTOCOL),
    ),
    Attack(
        "patches os.write",
        "import os\nreal = os.write\nos.write = lambda fd, data: real(fd, b'passed') and len(data)\ndef f(x): return 0",
        (PROTOCOL, WALL, OUTPUT),
    ),
    Attack(
        "forges its answers",
        FRAMES
        + "def f(x):\n    for n in range(4):\n        for fd in (3, 4):\n            try: os.write(fd, frame({'id': n, 'value': 0, 'status': 'passed', 'test': 0, 'end': True}))\n            except OSError: pass\n    return 0",
        (WRONG, PROTOCOL),
    ),
    Attack(
        "forges a judge's reports",
        FRAMES
        + "for fd in range(3, 64):\n    try:\n        os.write(fd, frame({'test': 0, 'status': 'passed'}) + frame({'test': 1, 'status': 'passed'}) + frame({'end': True}))\n    except OSError: pass\nos._exit(0)",
        (EARLY, PROTOCOL),
    ),
    Attack(
        "announces a huge frame",
        "import os\ndef f(x):\n    os.write(3, b'\\xff\\xff\\xff\\xf0abc')\n    os.write(4, b'\\xff\\xff\\xff\\xf0abc')",
        (PROTOCOL, RAISED),
    ),
    Attack(
        "writes noise",
        "import os\ndef f(x):\n    for fd in (3, 4):\n        try: os.write(fd, os.urandom(5000))\n        except OSError: pass\n    return 0",
        (PROTOCOL,),
    ),
    Attack(
        "floods the channel",
        "import os\ndef f(x):\n    while True:\n        for fd in (3, 4):\n            try: os.write(fd, b'\\0\\0\\0\\2{}' * 1000)\n            except OSError: pass",
        (PROTOCOL,),
    ),
    Attack("closes everything", "import os\ndef f(x):\n    os.closerange(0, 64)\n    while True: pass", (EARLY, CPU)),
    Attack(
        "walks the frames",
        "import sys\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n        for value in list(frame.f_locals.values()):\n            if isinstance(value, dict) and 'expected' in value: return value['expected']\n        for name in ('expected', 'result', 'passed', 'status', 'details'):\n            if name in frame.f_locals: return frame.f_locals[name]\n        frame = frame.f_back\n    return 0",
        (WRONG,),
    ),
    Attack(
        "searches all objects",
        "import gc\ndef f(x):\n    found = [o for o in gc.get_objects() if isinstance(o, dict) and 'expected' in o]\n    return found[0]['expected'] if found else 0",
        (WRONG,),
    ),
    Attack(
        "traces",
        "import sys\nseen = []\nsys.settrace(lambda frame, event, arg: seen.append(frame.f_locals.get('expected')) and None)\nsys.setprofile(lambda frame, event, arg: None)\ndef f(x): return next((s for s in seen if s is not None), 0)",
        (WRONG,),
    ),
    Attack(
        "redefines the tests",
        "import unittest\ndef check(candidate): pass\ndef test_f(): pass\nunittest.TestCase.run = lambda *a: None\nAssertionError = Exception\ndef f(x): return 0",
        (WRONG,),
    ),
    Attack("exits at exit", "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): return 0", (WRONG,)),
    Attack(
        "answers again from a thread",
        FRAMES
        + "import threading, time\n"
        + "def late():\n"
        + "    for n in range(4):\n"
        + "        time.sleep(0.001)\n"
        + "        for fd in (3, 4):\n"
        + "            try: os.write(fd, frame({'id': n, 'value': 0}))\n"
        + "            except OSError: pass\n"
        + "def f(x):\n"
        + "    threading.Thread(target=late, daemon=True).start()\n"
        + "    return 0",
        (WRONG, PROTOCOL),
    ),
    Attack(
        "message that explodes",
        "class Bad(Exception):\n    def __str__(self): raise SystemExit\ndef f(x): raise Bad",
        (RAISED,),
    ),
    Attack("raises AssertionError", "def f(x): raise AssertionError", (RAISED,)),
)

DENIED = """
import os, socket, ctypes
libc = ctypes.CDLL(None, use_errno=True)
def f(x):
    try:
        {attempt}
    except (OSError, ImportError):
        raise LookupError('denied')
    return x + 1
"""


def _denied(name: str, attempt: str) -> Attack:
    return Attack(name, DENIED.format(attempt=attempt), (RAISED,), raises="LookupError")


HARMS = (
    _denied("reads the password file", "open('/etc/passwd').read()"),
    _denied("lists root's home", "open('/root/.bashrc').read()"),
    _denied("reads the server's memory", "open('/proc/1/environ').read()"),
    _denied("reads the server's sources", f"open({__file__!r}).read()"),
    _denied("imports what is installed", "import pytest"),
    _denied("writes to the root", "open('/escaped', 'w')"),
    _denied("writes to the library", "open(os.__file__, 'a')"),
    _denied("opens a connection", "socket.create_connection(('127.0.0.1', 22), 1)"),
    _denied("asks the cloud's metadata", "socket.create_connection(('169.254.169.254', 80), 1)"),
    _denied("opens a unix socket", "socket.socket(socket.AF_UNIX)"),
    _denied("opens a netlink socket", "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)"),
    _denied("forks", "os.fork()"),
    _denied("forks behind the interpreter", "assert libc.fork() >= 0 or os.fork()"),
    _denied("forks by number", "assert libc.syscall(57) >= 0 or os.fork()"),
    _denied("vforks by number", "assert libc.syscall(58) >= 0 or os.fork()"),
    _denied("clones without a filter's view", "assert libc.syscall(435, 0, 0) >= 0 or os.fork()"),
    _denied("runs a shell", "os.posix_spawn('/bin/sh', ['sh'], {})"),
    _denied("replaces itself", "os.execv('/bin/true', ['true'])"),
    _denied("kills everything", "os.kill(-1, 9)"),
    _denied("kills itself", "os.kill(os.getpid(), 9)"),
    _denied("takes back the uid", "os.setuid(0)"),
    _denied("changes the root", "os.chroot('/tmp')"),
    _denied("makes its own namespace", "assert libc.unshare(0x10000000) == 0 or os.fork()"),
    _denied("traces a process", "assert libc.ptrace(16, 1, 0, 0) == 0 or os.fork()"),
    _denied("makes hidden memory", "os.memfd_create('hidden')"),
    _denied("mounts", "assert libc.mount(b'none', b'/tmp', b'tmpfs', 0, 0) == 0 or os.fork()"),
    _denied("fills the disk", "open('/tmp/big', 'wb').write(b'x' * 10**8)"),
    _denied("fills the inodes", "[os.mkdir(f'/tmp/{n}') for n in range(10**5)]"),
    _denied("opens every descriptor", "[os.pipe() for _ in range(1000)]"),
    Attack(
        "raises its limits",
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))\ndef f(x): return x + 1",
        (RAISED,),
    ),
    Attack("fork bomb", "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", (CPU,)),
    Attack(
        "thread bomb",
        "import threading, time\ndef f(x):\n    while True: threading.Thread(target=time.sleep, args=(60,)).start()",
        (RAISED, MEMORY),
    ),
    Attack("memory bomb", "def f(x):\n    a = []\n    while True: a.append(bytearray(2**20))", (MEMORY,)),
    Attack("one huge allocation", "def f(x): return len('a' * (1 << 33))", (MEMORY,)),
    Attack("huge answer", "def f(x): return 'a' * (8 * 2**20)", (OUTPUT,)),
    Attack("prints for ever", "def f(x):\n    while True: print('x' * 1000)", (OUTPUT,)),
    Attack("prints a lot at import", "import sys\nsys.stderr.write('x' * 2**22)\ndef f(x): return x + 1", (OUTPUT,)),
    Attack("busy for ever", "def f(x):\n    while True: pass", (CPU,)),
    Attack("busy at import", "while True: pass", (CPU,)),
    Attack("busy in one call of C", "def f(x): return 9 ** 9 ** 9", (CPU, MEMORY)),
    Attack(
        "swallows everything",
        "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\ndef f(x):\n    while True:\n        try:\n            while True: pass\n        except BaseException: continue",
        (CPU,),
    ),
    Attack(
        "turns the clocks",
        "import time\ntime.time = time.monotonic = time.perf_counter = time.process_time = lambda: 0.0\ndef f(x):\n    while True: pass",
        (CPU,),
    ),
    Attack("sleeps", "import time\ndef f(x): time.sleep(1000)", (WALL,), WAITING),
    Attack("sleeps at import", "import time\ntime.sleep(1000)", (WALL,), WAITING),
    Attack(
        "locks itself out",
        "import threading\ndef f(x):\n    lock = threading.Lock()\n    lock.acquire()\n    lock.acquire()",
        (WALL,),
        WAITING,
    ),
    Attack("asks for input", "def f(x): return int(input())", (RAISED,)),
    Attack("crashes", "import ctypes\ndef f(x): ctypes.string_at(0)", (KILLED,)),
    Attack("aborts", "import os\ndef f(x): os.abort()", (KILLED,)),
    Attack(
        "overflows the stack",
        "import sys\nsys.setrecursionlimit(10**9)\nclass A:\n    def __getattr__(self, n): return getattr(self, n + 'x')\ndef f(x): return repr(A().a)",
        (KILLED, CPU, MEMORY, RAISED),
    ),
    Attack("compiles a bomb", "f = " + "(" * 5000 + ")" * 5000, (Status.COMPILE_ERROR,)),
    Attack("deep syntax", "f = " + "-" * 100000 + "1", (Status.COMPILE_ERROR, KILLED)),
    Attack("null byte", "f = 1\0", (Status.COMPILE_ERROR,)),
    Attack("too much source", "#" * 1_000_001, (Status.COMPILE_ERROR,)),
)
