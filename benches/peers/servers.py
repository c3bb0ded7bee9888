"""The servers: how each is started, watched and ended, and how each is configured: one worker, nothing outside its folder, and a rate
limit only where `limit` is given, in responses a second."""

import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from zones import APEX

START_S = 300
# Hale writes its signatures down, which takes a while for millions of them.
STOP_S = 60
# Where servers listen and are asked; the flood changes it.
ADDRESS = "127.0.0.1"
TICKS = os.sysconf("SC_CLK_TCK")


def find(program: str) -> str | None:
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin")


def free_port() -> int:
    """A port that is free for UDP and TCP, and stays so: the kernel gives none of these to outgoing connections, of which checks make
    hundreds a second."""
    ephemeral = int((read(Path("/proc/sys/net/ipv4/ip_local_port_range")) or "32768").split()[0])
    while True:
        port = random.randrange(10_000, max(ephemeral, 11_000))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            try:
                udp.bind((ADDRESS, port))
                tcp.bind((ADDRESS, port))
            except OSError:
                continue
            return port


@dataclass
class Usage:
    """CPU seconds."""

    user: float = 0.0
    system: float = 0.0

    def __sub__(self, other):
        return Usage(self.user - other.user, self.system - other.system)


@dataclass
class Server:
    """A server that was started. `dns` tells its DNS threads from those that check health or keep house."""

    name: str
    command: list[str]
    folder: Path
    port: int
    dns: str = "."
    core: int | None = 0
    process: subprocess.Popen | None = field(default=None, repr=False)
    load_s: float = 0.0

    def start(self, probe: str = APEX):
        """Starts it and waits for an answer about `probe`; raises with its log's end where none comes."""
        pin = (lambda: os.sched_setaffinity(0, {self.core})) if self.core is not None else None
        log = (self.folder / "log").open("wb")
        began = time.monotonic()
        self.process = subprocess.Popen(
            self.command, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            preexec_fn=pin, start_new_session=True,
        )
        log.close()
        while not answers(self.port, probe):
            if self.process.poll() is not None or time.monotonic() - began > START_S:
                self.stop()
                raise RuntimeError(f"{self.name} does not answer: {self.log()[-600:]}")
        self.load_s = time.monotonic() - began
        return self

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def stop(self):
        """Ends the process, and what it started in its own session."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def processes(self) -> list[int]:
        """It and all its descendants."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for task in tasks(pid):
                todo += [int(child) for child in read(task / "children").split()]
        return found

    def threads(self):
        """`(tid, is_dns, Usage so far)` of each thread."""
        for task in (task for pid in self.processes() for task in tasks(pid)):
            stat = read(task / "stat")
            if not stat:
                continue
            comm, fields = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2 :].split()
            yield int(task.name), bool(re.search(self.dns, comm)), Usage(int(fields[11]) / TICKS, int(fields[12]) / TICKS)

    def cpu(self) -> tuple[Usage, Usage]:
        """CPU time so far of its DNS threads, and of all its others."""
        dns, rest = Usage(), Usage()
        for _, is_dns, usage in self.threads():
            total = dns if is_dns else rest
            total.user += usage.user
            total.system += usage.system
        return dns, rest

    def dns_threads(self) -> list[int]:
        return [tid for tid, is_dns, _ in self.threads() if is_dns]

    def memory(self) -> tuple[float, float]:
        """MiB resident now and at most; pages that a server's processes share count in each."""
        sums = {"VmRSS": 0, "VmHWM": 0}
        for pid in self.processes():
            for line in read(Path(f"/proc/{pid}/status")).splitlines():
                key, _, value = line.partition(":")
                if key in sums:
                    sums[key] += int(value.split()[0])
        return sums["VmRSS"] / 1024, sums["VmHWM"] / 1024

    def pin(self, core: int):
        for tid, _, _ in self.threads():
            os.sched_setaffinity(tid, {core})


def tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def ask(port: int, name: str, rtype: int, wait_s: float = 0.05) -> bytes:
    """The response to one query over UDP; empty where none comes."""
    wire = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    query = struct.pack("!6H", 7, 0, 1, 0, 0, 0) + wire + struct.pack("!2H", rtype, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(wait_s)
        try:
            udp.connect((ADDRESS, port))
            udp.send(query)
            return udp.recv(4096)
        except OSError:
            return b""


def answers(port: int, name: str) -> bool:
    """Whether an answer without error comes for A (SOA at the apex)."""
    reply = ask(port, name, 6 if name == APEX else 1)
    if not reply:
        time.sleep(0.02)
    return len(reply) > 12 and reply[3] & 15 == 0 and reply[7] > 0


def serial(port: int) -> int:
    """The serial of the zone's SOA record: the first of the five numbers that end it."""
    reply = ask(port, APEX, 6, 1.0)
    wire = b"".join(bytes([len(label)]) + label.encode() for label in APEX.split(".")) + b"\0"
    at = 12 + len(wire) + 4  # behind the question; then owner (pointer or name), type, class, TTL, length
    at += 2 if reply[at] >= 0xC0 else len(wire)
    end = at + 10 + int.from_bytes(reply[at + 8 : at + 10], "big")
    return int.from_bytes(reply[end - 20 : end - 16], "big")


# ---- one configuration each ----------------------------------------------------------------------------------------

def hale(program: str, folder: Path, zone: Path, core: int | None = 0, limit: int = 0, admin: str = "off") -> Server:
    port = free_port()
    config = {"limits": {"rrl": {"responses_per_second": limit}}} if limit else {}
    (folder / "hale.json").write_text(json.dumps(config))
    command = [program, "serve", str(zone), "--config", str(folder / "hale.json"), "--listen", f"{ADDRESS}:{port}", "--admin", admin,
               "--workers", "1", "--state", str(folder / "state"), "--log-level", "warn"]
    # TCP queries have a runtime of their own; probes, the keeper and the admin listener are the other threads.
    return Server("hale", command, folder, port, dns=r"^hale-(udp|tcp)", core=core)


def nsd(program: str, folder: Path, zone: Path, core: int | None = 0, limit: int = 0, minimal: bool = True) -> Server:
    port = free_port()
    (folder / "nsd.conf").write_text(
        f'server:\n ip-address: {ADDRESS}@{port}\n username: ""\n chroot: ""\n zonesdir: "{folder}"\n database: ""\n'
        f' pidfile: ""\n xfrdfile: "{folder}/xfrd.state"\n zonelistfile: "{folder}/zone.list"\n xfrdir: "{folder}"\n'
        f' cookie-secret-file: ""\n server-count: 1\n rrl-ratelimit: {limit}\n rrl-whitelist-ratelimit: {limit}\n tcp-count: 100\n'
        f' minimal-responses: {"yes" if minimal else "no"}\n'
        f'remote-control:\n control-enable: no\nzone:\n name: "{APEX}"\n zonefile: "{zone}"\n'
    )
    return Server("nsd" if minimal else "nsd-default", [program, "-d", "-c", str(folder / "nsd.conf")], folder, port, core=core)


def nsd_default(program: str, folder: Path, zone: Path, core: int | None = 0) -> Server:
    """As packaged: the NS RRset and its glue go with each positive answer."""
    return nsd(program, folder, zone, core, minimal=False)


def knot(program: str, folder: Path, zone: Path, core: int | None = 0, limit: int = 0) -> Server:
    port = free_port()
    module = f"mod-rrl:\n  - id: default\n    rate-limit: {limit}\n    slip: 2\n" if limit else ""
    use = "    global-module: mod-rrl/default\n" if limit else ""
    (folder / "knot.conf").write_text(
        f'server:\n  rundir: "{folder}"\n  listen: {ADDRESS}@{port}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n'
        f'log:\n  - target: stderr\n    any: warning\ndatabase:\n  storage: "{folder}"\n{module}'
        f'template:\n  - id: default\n    storage: "{folder}"\n    semantic-checks: off\n    zonefile-sync: -1\n    journal-content: none\n{use}'
        f'zone:\n  - domain: {APEX}\n    file: "{zone}"\n'
    )
    return Server("knot", [program, "-c", str(folder / "knot.conf")], folder, port, core=core)


def gdnsd(program: str, folder: Path, plugins: str, zone: Path, core: int | None = 0) -> Server:
    port = free_port()
    (folder / "etc" / "zones").mkdir(parents=True)
    (folder / "etc" / "zones" / APEX).symlink_to(zone)
    (folder / "etc" / "config").write_text(
        f"options => {{ listen => {ADDRESS}, dns_port => {port}, udp_threads => 1, tcp_threads => 1, run_dir => {folder}/run,"
        f" state_dir => {folder}/state }}\n{plugins}"
    )
    return Server("gdnsd", [program, "-c", str(folder / "etc"), "start"], folder, port, dns="^gdnsd-io-", core=core)


def bind(program: str, folder: Path, zone: Path, core: int | None = 0) -> Server:
    port = free_port()
    (folder / "named.conf").write_text(
        f'options {{ directory "{folder}"; listen-on port {port} {{ {ADDRESS}; }}; listen-on-v6 {{ none; }}; pid-file none;'
        f' session-keyfile none; recursion no; minimal-responses yes; dnssec-validation no; notify no; tcp-clients 100; }};\n'
        f'controls {{ }};\nzone "{APEX}" {{ type primary; file "{zone}"; check-names ignore; }};\n'
    )
    return Server("bind", [program, "-f", "-n", "1", "-c", str(folder / "named.conf")], folder, port, core=core)


def pdns(program: str, folder: Path, zone: Path, core: int | None = 0, lua: bool = False) -> Server:
    """By the backend that reads zone files; with `lua` each address RRset is a script that asks for the state of its checks."""
    port = free_port()
    (folder / "named.conf").write_text(f'zone "{APEX}" {{ type master; file "{zone}"; }};\n')
    (folder / "pdns.conf").write_text(
        f"launch=bind\nbind-config={folder}/named.conf\nlocal-address={ADDRESS}\nlocal-port={port}\nsocket-dir={folder}\n"
        "receiver-threads=1\ndistributor-threads=1\nreuseport=yes\nsecurity-poll-suffix=\nwebserver=no\n"
        + ("enable-lua-records=yes\nlua-health-checks-interval=5\n" if lua else "")
    )
    command = [program, f"--config-dir={folder}", "--daemon=no", "--guardian=no"]
    # Its checks are made by threads of their own; one of them sends them all out.
    return Server("pdns-lua" if lua else "pdns", command, folder, port, dns=r"^(?!pdns/luaupcheck)", core=core)


# The program of each row but Hale's, and how the rows that read zone files are started.
PROGRAMS = {"gdnsd": "gdnsd", "nsd": "nsd", "nsd-default": "nsd", "knot": "knotd", "bind": "named", "pdns": "pdns_server"}
STATIC = {"nsd": nsd, "nsd-default": nsd_default, "knot": knot, "bind": bind, "pdns": pdns}


def version(name: str, program: str) -> str:
    arguments = {"hale": ["--version"], "nsd": ["-v"], "knot": ["--version"], "bind": ["-v"], "dnsperf": ["-h"], "pdns": ["--version"]}
    done = subprocess.run([program, *arguments.get(name, [])], capture_output=True, text=True, timeout=10, check=False)
    match = re.search(r"\d+\.\d+(\.\d+)*", done.stdout + done.stderr)
    return match.group(0) if match else "?"
