"""Instructions a query of whole servers, by callgrind: what no clock, tick or neighbour on the machine can blur. Kernel time is not in it."""

import re
import subprocess
import time
from pathlib import Path

from measure import Generator, Workload, number
from servers import Server, find
from zones import APEX

QUERIES = 4000
# A server that spends fewer in a second has nothing left to do from its start, such as a first round of checks.
AT_REST = 300_000


def available() -> bool:
    return bool(find("valgrind") and find("callgrind_control"))


def under_callgrind(server: Server) -> Server:
    server.command = [find("valgrind"), "--tool=callgrind", f"--callgrind-out-file={server.folder}/callgrind.%p", *server.command]
    return server


def a_query(generator: Generator, server: Server, short: Workload, long: Workload) -> float:
    """From a run of `short` queries to one of `long`, which are as many more: what a run costs besides its queries falls out.
    The server runs, and may have been started anew afterwards."""
    # Callgrind cannot be asked for the counts of a forked child; it writes them when that ends, with all that came before.
    count = counted_to_the_end if len(server.processes()) > 1 else counted
    generator.run(server, short, None)
    count(server)
    if count is counted:
        wait_for_rest(server)
    spent = []
    for workload in (short, long):
        output = generator.run(server, workload, None)
        if number(output, "Queries completed") < number(output, "Queries sent"):
            raise RuntimeError(f"{server.name} lost queries under callgrind")
        spent.append(count(server))
    return (spent[1] - spent[0]) / QUERIES


def wait_for_rest(server: Server):
    """What a server does besides would be taken from, or added to, what the queries cost."""
    for _ in range(60):
        time.sleep(1)
        if counted(server) < AT_REST:
            return
    raise RuntimeError(f"{server.name} does not come to rest under callgrind")


def counted(server: Server) -> int:
    """Instructions since the last call."""
    done = subprocess.run([find("callgrind_control"), "-d", str(server.process.pid)], capture_output=True, text=True, timeout=120, check=False)
    return written(server, done.stdout + done.stderr)


def counted_to_the_end(server: Server) -> int:
    """Instructions of all its processes from start to end; it is started again."""
    children = server.processes()
    server.process.terminate()
    until = time.monotonic() + 20
    while time.monotonic() < until and any(Path(f"/proc/{pid}/exe").exists() for pid in children if pid != server.process.pid):
        time.sleep(0.05)
    server.stop()
    total = written(server, server.log()[-400:])
    server.start("h0." + APEX)
    return total


def written(server: Server, said: str) -> int:
    """The sum of what callgrind has written, which is removed."""
    counts = []
    for file in server.folder.glob("callgrind.*"):
        counts += re.findall(r"^(?:totals|summary): (\d+)", file.read_text(), re.MULTILINE)[:1]
        file.unlink()
    if not counts:
        raise RuntimeError(f"callgrind gives no counts of {server.name}: {said}")
    return sum(map(int, counts))


def loads(folder: Path, files: list[tuple[str, str, Path, tuple[str, ...]]]) -> list[tuple[Workload, Workload]]:
    """Of each workload one with [`QUERIES`] queries and one with twice as many."""
    pairs = []
    for key, title, queries, arguments in files:
        lines = queries.read_text().splitlines(keepends=True)
        pair = []
        for count in (QUERIES, 2 * QUERIES):
            path = folder / f"{key}-{count}.queries"
            path.write_text("".join(lines[:count]))
            pair.append(Workload(key, title, path, arguments))
        pairs.append(tuple(pair))
    return pairs
