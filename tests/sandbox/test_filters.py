"""The filters in the kernel: honest tool chains and programs live under them, and nothing starts that must not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.inside.seccomp import Kind, available

REPOSITORY = Path(__file__).parents[2]
PROGRAM = f"""
import os, sys
sys.path.insert(0, {str(REPOSITORY)!r})
from sandbox.inside.seccomp import Filter, build_program
from sandbox.inside.system import PR_SET_NO_NEW_PRIVS, prctl
kind, *argv = sys.argv[1:]
prctl(PR_SET_NO_NEW_PRIVS, 1)
Filter(build_program(kind)).install(os.getpid())
if kind == "compile" and os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
elif argv[0] == "exec":
    exec(argv[1])
else:
    os.execv(argv[0], argv)
"""

CPP = """
#include <fstream>
#include <iostream>
#include <thread>
int main() {
    long sum = 0, x;
    while (std::cin >> x) sum += x;
    std::thread([&] { ++sum; }).join();
    try { throw 1; } catch (int one) { sum += one; }
    std::ofstream("written") << sum;
    std::cout << sum << std::endl;
}
"""
JAVA = """
import java.util.Scanner;
import java.util.concurrent.Executors;
public class Main {
    public static void main(String[] arguments) throws Exception {
        var scanner = new Scanner(System.in);
        long sum = 0;
        while (scanner.hasNextInt()) sum += scanner.nextInt();
        var pool = Executors.newFixedThreadPool(2);
        System.out.println(sum + pool.submit(() -> 2).get());
        pool.shutdown();
    }
}
"""
JAVASCRIPT = """
const fs = require('fs');
const {Worker} = require('worker_threads');
const sum = fs.readFileSync(0, 'utf8').trim().split(/\\s+/).map(Number).reduce((a, b) => a + b);
fs.promises.writeFile('written', String(sum)).then(() => new Worker('1', {eval: true}).on('exit', () =>
    setTimeout(() => process.stdout.write(`${sum + 2}\\n`), 2)));
"""
VERILOG = """
module top;
    integer sum;
    initial begin
        sum = 0;
        repeat (8) #1 sum = sum + 1;
        $display("%0d", sum);
        $finish;
    end
endmodule
"""
SOURCES = {"a.cpp": CPP, "Main.java": JAVA, "a.js": JAVASCRIPT, "a.v": VERILOG}
LANGUAGES = {
    "C++": (["g++", "-O1", "-o", "program", "a.cpp"], ["./program"]),
    "Java": (["javac", "Main.java"], ["java", "-XX:+UseSerialGC", "Main"]),
    "JavaScript": ([], ["node", "a.js"]),
    "Verilog": (["iverilog", "-o", "program", "a.v"], ["vvp", "program"]),
}

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not available(), reason="there is no filter for this machine"
)


def confined(kind: Kind, argv: list[str], folder: Path, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, kind, *argv]
    return subprocess.run(command, input=given, capture_output=True, text=True, cwd=folder, timeout=120)


def found(argv: list[str]) -> list[str]:
    path = argv[0] if "/" in argv[0] else shutil.which(argv[0])
    if path is None:
        pytest.skip(f"no {argv[0]} here")
    return [path, *argv[1:]]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_compiles_and_runs(language: str, tmp_path: Path) -> None:
    for name, source in SOURCES.items():
        (tmp_path / name).write_text(source)
    compiler, program = LANGUAGES[language]
    if compiler:
        done = confined("compile", found(compiler), tmp_path)
        assert done.returncode == 0, done.stderr
    done = confined("run", found(program), tmp_path, "1 2 3")
    assert (done.stdout, done.returncode) == ("8\n", 0), done.stderr


def test_what_runs_starts_no_process(tmp_path: Path) -> None:
    done = confined("run", ["/bin/sh", "-c", "/bin/true & echo started"], tmp_path)
    assert done.returncode != 0
    assert "started" not in done.stdout


def test_what_runs_may_become_another_program(tmp_path: Path) -> None:
    assert confined("run", ["/bin/sh", "-c", "exec /bin/echo became"], tmp_path).stdout == "became\n"


def test_python_starts_neither(tmp_path: Path) -> None:
    for attempt in ("os.fork()", "os.execv('/bin/true', ['true'])", "os.posix_spawn('/bin/true', ['true'], {})"):
        done = confined("python", ["exec", attempt], tmp_path)
        assert "PermissionError" in done.stderr, attempt


def test_python_starts_threads_and_ends_itself(tmp_path: Path) -> None:
    source = "import threading; t = threading.Thread(target=print, args=('thread',)); t.start(); t.join(); os.abort()"
    done = confined("python", ["exec", source], tmp_path)
    assert done.returncode == -6
    assert confined("python", ["exec", f"os.kill({os.getpid()}, 0)"], tmp_path).stderr.count("PermissionError") == 1


def test_a_filter_survives_the_next_program(tmp_path: Path) -> None:
    """Also a compiler's child is confined: no network for a tool chain."""
    source = "import socket\ntry:\n    socket.socket()\nexcept PermissionError:\n    print('refused')\n"
    kinds: tuple[Kind, ...] = ("run", "compile")
    for kind in kinds:
        argv = [sys.executable, "-I", "-S", "-c", source]
        assert confined(kind, argv, tmp_path).stdout == "refused\n"
