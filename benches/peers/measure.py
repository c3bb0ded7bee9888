"""Rounds of dnsperf against each server in turn, and what the server's threads spent meanwhile."""

import os
import re
import selectors
import socket
import statistics
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from servers import Server

LOAD_CORE = 1
OUTSTANDING = 100
CLIENTS = 4
# SO_BINDTODEVICE, which Python has no name for.
BIND_TO_DEVICE = 25


@dataclass
class Sample:
    """One run against one server: microseconds of CPU a query, answers a second."""

    user: float
    total: float
    rate: float
    lost: float
    other: float
    size: float
    absent: float


@dataclass(frozen=True)
class Workload:
    key: str
    title: str
    queries: Path
    arguments: tuple[str, ...] = ()


class Backends:
    """What the health checks connect to: accepts on all of 127/8 at one port, reachable by loopback only, and closes."""

    def __init__(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, BIND_TO_DEVICE, b"lo\0")
        self.listener.bind(("0.0.0.0", 0))
        self.listener.listen(4096)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.accepted = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        selector = selectors.DefaultSelector()
        selector.register(self.listener, selectors.EVENT_READ)
        while not self.over.is_set():
            if not selector.select(0.5):
                continue
            try:
                while True:
                    self.listener.accept()[0].close()
                    self.accepted += 1
            except OSError:
                pass

    def close(self):
        self.over.set()
        self.thread.join()
        self.listener.close()


def run_dnsperf(program: str, server: Server, workload: Workload, seconds: float, extra: tuple[str, ...] = ()) -> str:
    command = [program, "-s", "127.0.0.1", "-p", str(server.port), "-d", str(workload.queries), "-l", str(seconds),
               "-c", str(CLIENTS), "-T", "1", "-q", str(OUTSTANDING), "-t", "1", *workload.arguments, *extra]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + 30, check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {LOAD_CORE}),
    )
    return done.stdout


def sample(program: str, server: Server, workload: Workload, seconds: float) -> Sample:
    before = server.cpu()
    output = run_dnsperf(program, server, workload, seconds)
    after = server.cpu()
    sent, completed = number(output, "Queries sent"), number(output, "Queries completed")
    if not completed:
        raise RuntimeError(f"{server.name} answered nothing in {workload.key}: {output[-600:]}")
    dns, other = after[0] - before[0], after[1] - before[1]
    micros = 1e6 / completed
    return Sample(
        user=dns.user * micros, total=(dns.user + dns.system) * micros, rate=number(output, "Queries per second"),
        lost=1 - completed / sent, other=(other.user + other.system) * micros,
        size=number(output, r"Average packet size:.*response"), absent=absent(output),
    )


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


def rounds(program: str, servers: list[Server], workloads: list[Workload], seconds: float, count: int, say) -> dict:
    """`{workload: {server: [Sample of each round]}}`. Within a round all servers have the same workload one after the other,
    in an order that moves by one with each round, so that what else the machine does falls on all alike."""
    results = {workload.key: {server.name: [] for server in servers} for workload in workloads}
    for server in servers:
        run_dnsperf(program, server, workloads[0], 1)
    for index in range(count):
        order = servers[index % len(servers):] + servers[: index % len(servers)]
        for workload in workloads:
            for server in order:
                got = sample(program, server, workload, seconds)
                results[workload.key][server.name].append(got)
                say(f"{index + 1}/{count} {workload.key:14} {server.name:6} user {got.user:5.2f} total {got.total:6.2f} µs "
                    f"{got.rate:8.0f}/s lost {got.lost:.2%} load {os.getloadavg()[0]:.1f}")
    return results


def latency(program: str, servers: list[Server], workload: Workload, rate: int, seconds: float, count: int, say) -> dict:
    """`{server: [(p50, p99) in µs]}` at a fixed rate."""
    results = {server.name: [] for server in servers}
    for index in range(count):
        for server in servers[index % len(servers):] + servers[: index % len(servers)]:
            output = run_dnsperf(program, server, workload, seconds, ("-v", "-Q", str(rate)))
            times = sorted(float(line.rsplit(" ", 1)[1]) * 1e6 for line in output.splitlines() if line.startswith("> "))
            if not times:
                raise RuntimeError(f"no latencies of {server.name}: {output[:300]}")
            results[server.name].append((times[len(times) // 2], times[len(times) * 99 // 100]))
            say(f"{index + 1}/{count} latency {server.name:6} p50 {times[len(times) // 2]:.0f} p99 {results[server.name][-1][1]:.0f} µs")
    return results


def ratio(own: list[float], peer: list[float]) -> tuple[float, float, float] | None:
    """Median, least and greatest of the ratios of the same round; rounds in which the peer's figure is 0 (less than a clock
    tick) say nothing."""
    pairs = [a / b for a, b in zip(own, peer, strict=True) if b > 0]
    return (statistics.median(pairs), min(pairs), max(pairs)) if pairs else None
