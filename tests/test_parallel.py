"""Work in several processes: spawned, from any program, and gone with whoever started it."""

import multiprocessing
import os
import subprocess
import sys

import pytest

from unbabble.base.parallel import in_parallel

posix = pytest.mark.skipif(sys.platform == "win32", reason="processes get another parent on POSIX only")


def square(number: int) -> int:
    return number * number


def where(_: int) -> tuple[int, str]:
    return os.getpid(), multiprocessing.current_process().name


def nested(number: int) -> list[int]:
    return list(in_parallel(square, range(number), 2))


def test_results_come_in_order_from_other_processes():
    assert list(in_parallel(square, range(20), 3)) == [number * number for number in range(20)]
    places = set(in_parallel(where, range(4), 2))
    assert all(pid != os.getpid() and name.startswith("Spawn") for pid, name in places)


def test_in_a_worker_of_a_pool_that_may_start_none_it_is_done_there():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(nested, [3]) == [[0, 1, 4]]


@posix
def test_a_worker_whose_parent_died_while_it_started_ends():
    """It finds itself the child of another process than the one that it was told of."""
    code = "import os, time; from unbabble.base.parallel import _begin; _begin(abs, 2**22 + 1); time.sleep(60)"
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 1


def test_a_program_that_expects_nothing_is_not_run_again(tmp_path):
    """Without the guard that spawned processes need."""
    code = "import operator\nfrom unbabble.base.parallel import in_parallel\n"
    code += "print(list(in_parallel(operator.neg, range(3), 2)))\n"
    (tmp_path / "program.py").write_text(code)
    done = subprocess.run([sys.executable, tmp_path / "program.py"], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("[0, -1, -2]\n", 0), done.stderr
