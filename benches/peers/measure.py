"""Rounds of dnsperf against each server in turn, and what the server's threads spent meanwhile."""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from backends import LOAD_CORE
from servers import ADDRESS, Server, find

OUTSTANDING = 100
CLIENTS = 4
# Between a server's start and the measurement of its latency: its first checks are over by then.
SETTLE_S = 1.5
# User time is sampled at this period of a thread's CPU time, in nanoseconds.
SAMPLE_NS = 100_000


@dataclass
class Sample:
    """One run against one server: microseconds of CPU a query that was answered (of a workload in which responses are withheld: a query that
    was sent), answers a second."""

    user: float
    total: float
    rate: float
    lost: float
    size: float
    absent: float


@dataclass(frozen=True)
class Workload:
    key: str
    title: str
    queries: Path
    arguments: tuple[str, ...] = ()
    # Rows that sit this one out.
    without: tuple[str, ...] = ()
    # A TCP connection for each query.
    connections: bool = False
    # Many responses are withheld on purpose: figures are by query sent, since all of them were received.
    withheld: bool = False


class Generator:
    """dnsperf, and perf for the user time where it works here."""

    def __init__(self, program: str):
        self.program = program
        self.asked = self.sampled = False
        self.perf = find("perf")
        if self.perf and not self._samples():
            self.perf = None

    def _samples(self) -> bool:
        """Whether perf can sample a thread's user time; not so without privileges or in some containers."""
        with tempfile.TemporaryDirectory() as folder:
            record = [*self._record(f"{folder}/data", [os.getpid()]), "sleep", "0.01"]
            works = subprocess.run(record, capture_output=True, check=False, timeout=20).returncode == 0
            self.sampled = False
            return works

    def _record(self, file: str, threads: list[int]) -> list[str]:
        self.sampled = True
        return [self.perf, "record", "-q", "-N", "-B", "-e", "cpu-clock:u", "-c", str(SAMPLE_NS), "-t",
                ",".join(map(str, threads)), "-o", file, "--"]

    def run(self, server: Server, workload: Workload, seconds: float | None, extra: tuple[str, ...] = (), around: list[str] | None = None,
            first: bool = False) -> str:
        """What dnsperf prints after so many seconds, or after each query once. With `first` it comes before whatever else its core has to do."""
        self.asked = True
        # A server under callgrind may take its time.
        end = ["-n", "1", "-t", "30"] if seconds is None else ["-l", str(seconds), "-t", "1"]
        command = [*(around or []), self.program, "-s", ADDRESS, "-p", str(server.port), "-d", str(workload.queries), *end,
                   "-c", str(CLIENTS), "-T", "1", "-q", str(OUTSTANDING), *workload.arguments, *extra]
        if workload.connections:
            each = str(Path(__file__).with_name("tcp_each.py"))
            command = [*(around or []), sys.executable, each, ADDRESS, str(server.port), str(workload.queries), str(seconds)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=(seconds or 240) + 60, check=False,
            preexec_fn=lambda: on_load_core(first),
        )
        if done.returncode:
            raise RuntimeError(f"{workload.key} of {server.name} ends with {done.returncode}: {(done.stderr or done.stdout)[-600:]}")
        return done.stdout

    def sample(self, server: Server, workload: Workload, seconds: float) -> Sample:
        with tempfile.TemporaryDirectory() as folder:
            around = self._record(f"{folder}/data", lasting(server)) if self.perf else None
            before = server.cpu()
            output = self.run(server, workload, seconds, around=around)
            spent = server.cpu()[0] - before[0]
            user_s = self._listed_s(f"{folder}/data") if self.perf else spent.user
        sent, completed = number(output, "Queries sent"), number(output, "Queries completed")
        if not completed:
            raise RuntimeError(f"{server.name} answered nothing in {workload.key}: {output[-600:]}")
        micros = 1e6 / (sent if workload.withheld else completed)
        return Sample(
            user=user_s * micros, total=(spent.user + spent.system) * micros, rate=number(output, "Queries per second"),
            lost=1 - completed / sent, size=number(output, r"Average packet size:.*response"), absent=absent(output),
        )

    def user_s(self, threads: list[int], seconds: float) -> float | None:
        """What these threads spend in user mode within so long a time, in seconds; `None` where perf cannot tell."""
        with tempfile.TemporaryDirectory() as folder:
            around = self._record(f"{folder}/data", threads) if self.perf else []
            subprocess.run([*around, "sleep", str(seconds)], check=True, timeout=seconds + 60, capture_output=True,
                           preexec_fn=lambda: os.sched_setaffinity(0, {LOAD_CORE}))
            return self._listed_s(f"{folder}/data") if self.perf else None

    def _listed_s(self, file: str) -> float:
        """One sample stands for one period of a thread's CPU time."""
        listed = subprocess.run([self.perf, "script", "-i", file, "-F", "tid"], capture_output=True, text=True, check=True, timeout=60)
        return len(listed.stdout.splitlines()) * SAMPLE_NS / 1e9


def on_load_core(first: bool):
    os.sched_setaffinity(0, {LOAD_CORE})
    if first:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        except PermissionError:
            pass


def lasting(server: Server) -> list[int]:
    """Its DNS threads, without those that are gone after a moment (PowerDNS's checks)."""
    first = server.dns_threads()
    time.sleep(0.2)
    still = set(server.dns_threads())
    return [thread for thread in first if thread in still]


def number(output: str, label: str) -> float:
    match = re.search(rf"{label}:?\s+([\d.]+)", output)
    if not match:
        raise RuntimeError(f"dnsperf says nothing of {label!r}: {output[-600:]}")
    return float(match.group(1))


def absent(output: str) -> float:
    """Share of NXDOMAIN; any code but it and NOERROR means that the servers are not comparable."""
    codes = dict(re.findall(r"(\w+) \d+ \(([\d.]+)%\)", next(line for line in output.splitlines() if "Response codes" in line)))
    if set(codes) - {"NOERROR", "NXDOMAIN"}:
        raise RuntimeError(f"unexpected response codes: {codes}")
    return float(codes.get("NXDOMAIN", 0)) / 100


def rounds(generator: Generator, servers: list[Server], workloads: list[Workload], seconds: float, count: int, failed, say) -> dict:
    """`{workload: {server: [Sample of each round]}}`. Within a round all servers have the same workload one after the other,
    in an order that moves by one with each round, so that what else the machine does falls on all alike. A peer that fails twice in a row
    at a workload is told to `failed` and left out of it; Hale must not."""
    asked = {w.key: [s for s in servers if s.name not in w.without] for w in workloads}
    results = {key: {server.name: [] for server in some} for key, some in asked.items()}
    for index in range(count):
        for workload in workloads:
            some = asked[workload.key]
            for server in some[index % len(some):] + some[: index % len(some)]:
                try:
                    got = sampled(generator, server, workload, seconds, index, say)
                except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                    if server.name == "hale":
                        raise
                    say(f"left out: {error}")
                    failed(f"{server.name} (fails at {workload.key})")
                    some.remove(server)
                    del results[workload.key][server.name]
                    continue
                results[workload.key][server.name].append(got)
                say(f"{index + 1}/{count} {workload.key:14} {server.name:11} user {got.user:5.2f} total {got.total:6.2f} µs "
                    f"{got.rate:8.0f}/s lost {got.lost:.2%} load {os.getloadavg()[0]:.1f}")
    return results


def sampled(generator: Generator, server: Server, workload: Workload, seconds: float, index: int, say) -> Sample:
    """A sample, the first one after a second of the same load; perf was seen to fail without a word, so it is tried again."""
    if index == 0:
        generator.run(server, workload, 1)
    try:
        return generator.sample(server, workload, seconds)
    except (RuntimeError, subprocess.SubprocessError) as error:
        say(f"again: {error}")
        return generator.sample(server, workload, seconds)


def latency(generator: Generator, servers: list[Server], workload: Workload, rate: int, seconds: float, count: int, start, say) -> dict:
    """`{server: [(p50, p99) in µs of each round]}` at a fixed rate. Each server is started for its run and stopped after it: checks of the others, on
    the same core, would be in its percentiles. For the same reason dnsperf comes before the backends that share its core."""
    results = {server.name: [] for server in servers}
    for index in range(count):
        for server in servers[index % len(servers):] + servers[: index % len(servers)]:
            if start(server) is None:
                continue
            time.sleep(SETTLE_S)
            try:
                output = generator.run(server, workload, seconds, ("-v", "-Q", str(rate)), first=True)
            except (RuntimeError, subprocess.SubprocessError) as error:
                if server.name == "hale":
                    raise
                say(f"left out: {error}")
                continue
            finally:
                server.stop()
            times = sorted(float(line.rsplit(" ", 1)[1]) * 1e6 for line in output.splitlines() if line.startswith("> "))
            if not times:
                raise RuntimeError(f"no latencies of {server.name}: {output[:300]}")
            results[server.name].append((times[len(times) // 2], times[len(times) * 99 // 100]))
            say(f"{index + 1}/{count} latency {server.name:11} p50 {times[len(times) // 2]:.0f} p99 {results[server.name][-1][1]:.0f} µs")
    return {name: got for name, got in results.items() if len(got) == count}


def ratio(own: list[float], peer: list[float]) -> tuple[float, float, float] | None:
    """Median, least and greatest of the ratios of the same round; rounds in which the peer's figure is 0 (less than a clock
    tick) say nothing."""
    pairs = [a / b for a, b in zip(own, peer, strict=True) if b > 0]
    return (statistics.median(pairs), min(pairs), max(pairs)) if pairs else None
