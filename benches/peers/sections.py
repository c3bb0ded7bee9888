"""The parts of the comparison. Each gives what stands in its section of docs/performance.md, under its own date and conditions."""

import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import instructions
import measure
import plot
import report
import servers
import zones
from backends import Backends
from measure import Workload

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# An interval that ends after any run: its checks fall out of what is counted.
LONG_S = 3600
# Seconds from a large zone's first answer to the look at memory.
SETTLED_S = 3
# So high that nothing is dropped: what a limit costs is that it is looked up and counted for each response.
LIMIT = 1_000_000
# So low that nearly every response to this many queries a second for random names is beyond it: all servers count those by zone. That many
# are sent whether responses come or not: what does not come is given up after a tenth of a second.
LOW_LIMIT = 5
FLOOD = ("-Q", "40000", "-q", "6000", "-t", "0.1")


def say(text: str):
    print(text, file=sys.stderr, flush=True)


class Bench:
    """What the sections share: the programs that are here, a folder, and the servers that run."""

    def __init__(self, options, folder: Path):
        self.options, self.folder = options, folder
        self.programs = {name: path for name, program in servers.PROGRAMS.items() if (path := servers.find(program))}
        self.missing = sorted({program for name, program in servers.PROGRAMS.items() if name not in self.programs})
        self.programs["hale"] = str(Path(options.hale).resolve())
        self.generator = measure.Generator(servers.find("dnsperf") or sys.exit("dnsperf is not installed: nothing can be measured"))
        self.running: list[servers.Server] = []
        self.used: set[str] = set()

    def sub(self, name: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))

    def start(self, server, probe: str = "h0." + zones.APEX):
        """Starts a server; a peer that does not start is reported and left out, Hale must."""
        self.running.append(server)
        try:
            server.start(probe)
        except RuntimeError as error:
            if server.name == "hale":
                raise
            self.running.remove(server)
            self.missing.append(f"{server.name} (does not start)")
            say(str(error))
            return None
        self.used.add(server.name)
        return server

    def stop_all(self):
        for server in self.running:
            server.stop()
        self.running.clear()

    def hale(self, zone: Path, **more):
        return servers.hale(self.programs["hale"], self.sub("hale"), zone, **more)

    def gdnsd(self, made: tuple[str, Path], **more):
        return servers.gdnsd(self.programs["gdnsd"], self.sub("gdnsd"), *made, **more) if "gdnsd" in self.programs else None

    def static(self, zone: Path, only=None, **more) -> list:
        return [make(self.programs[name], self.sub(name), zone, **more) for name, make in servers.STATIC.items()
                if name in self.programs and (only is None or name in only)]

    def export(self, hale) -> Path:
        """The zone as Hale serves it now, for servers that read text."""
        path = self.folder / "exported.zone"
        socket = f"unix:{hale.folder}/state/hale.sock"
        subprocess.run([self.programs["hale"], "zone", "export", zones.APEX, "--server", socket, "-o", str(path)], check=True, timeout=300)
        return path

    def rounds(self, loads) -> dict:
        return measure.rounds(self.generator, self.running, loads, self.options.seconds, self.options.rounds, self.missing.append, say)


def unsigned(bench: Bench) -> str:
    """Every name with a check in Hale, gdnsd and PowerDNS's Lua; the others serve the same records as static data."""
    mix, gone = zones.queries(bench.folder)
    with closing(Backends(zones.backends())) as backends:
        hale = bench.start(bench.hale(zones.hale(bench.folder, backends.port, False)))
        started = [bench.gdnsd(zones.gdnsd(bench.folder / "gdnsd-zone", backends.port)), *bench.static(zones.text(bench.folder))]
        if "pdns" in bench.programs:
            started.append(servers.pdns(bench.programs["pdns"], bench.sub("lua"), zones.lua(bench.folder, backends.port), lua=True))
        for server in filter(None, started):
            bench.start(server)
        slow, odd = ("pdns-lua", "nsd-default"), ("pdns-lua", "nsd-default", "pdns")
        loads = [
            Workload("mix", "UDP mix, unsigned, every name checked", mix),
            Workload("random", "random names (NXDOMAIN), unsigned", gone, without=slow),
            Workload("tcp", "TCP mix, unsigned, pipelined", mix, ("-m", "tcp"), without=odd),
            Workload("tcp-each", "TCP mix, unsigned, one query a connection", mix, without=odd, connections=True),
        ]
        backends.flap(zones.flapping(), zones.FLIPS)
        time.sleep(2 * zones.INTERVAL_S)
        began, flips, serial = time.monotonic(), backends.flips, servers.serial(hale.port)
        results = bench.rounds(loads)
        elapsed = time.monotonic() - began
        changes = f"{(backends.flips - flips) / elapsed:.0f} backends a second went down or came up, for all that check them; " \
                  f"Hale's serial moved by {(servers.serial(hale.port) - serial) / elapsed:.0f} a second."
        slowest = min(report.median(s.rate for s in got) for name, got in results["mix"].items() if name not in slow)
        alone = [server for server in bench.running if server.name not in slow]
        bench.stop_all()
        delays = measure.latency(bench.generator, alone, Workload("latency", "", mix), int(slowest / 2), bench.options.seconds, bench.options.rounds, bench.start, say)
        bench.stop_all()
    # Connections cost ten times as much and would flatten all other bars.
    short = {"mix": "UDP mix", "random": "UDP random names", "tcp": "TCP pipelined"}
    picture = drawn(bench, "unsigned", "CPU of the DNS threads a query, unsigned", report.cpu_groups(results, short))
    tables = [report.table(load.title, results[load.key]) for load in loads]
    tables.append(report.latency_table(f"latency of the mix at {slowest / 2:,.0f} queries/s, half of what the slowest static server answers", delays))
    return "\n\n".join([picture, changes, *tables])


def signed(bench: Bench) -> str:
    mix, gone = zones.queries(bench.folder)
    with closing(Backends(zones.backends())) as backends:
        hale = bench.start(bench.hale(zones.hale(bench.folder, backends.port, True)))
        for server in bench.static(bench.export(hale), only=("nsd", "knot", "bind")):
            bench.start(server)
        backends.flap(zones.flapping(), zones.FLIPS)
        time.sleep(2 * zones.INTERVAL_S)
        loads = [
            Workload("mix-signed", "UDP mix, signed (P-256, NSEC), DO set", mix, ("-D",)),
            Workload("random-signed", "random names (NXDOMAIN), signed, DO set", gone, ("-D",)),
        ]
        results = bench.rounds(loads)
        bench.stop_all()
    short = {"mix-signed": "UDP mix", "random-signed": "UDP random names"}
    picture = drawn(bench, "signed", "CPU of the DNS threads a query, signed, DO set", report.cpu_groups(results, short))
    return "\n\n".join([picture, *(report.table(load.title, results[load.key]) for load in loads)])


def policies(bench: Bench) -> str:
    """Every name with a policy, beside Hale without any and the others: 200 names each of weighted, hashed, geo by network, failover over a
    weighted pool, and two answers of three."""
    mix, _ = zones.queries(bench.folder)
    tables = []
    with closing(Backends(zones.backends())) as backends:
        backends.flap(zones.flapping(), zones.FLIPS)
        for signed, peers, flags in ((False, ("nsd", "knot"), ()), (True, ("nsd", "knot"), ("-D",))):
            with_policies = bench.hale(zones.policies(bench.folder, backends.port, signed))
            with_policies.name = "hale+policies"
            plain = bench.start(bench.hale(zones.hale(bench.folder, backends.port, signed)))
            others = bench.static(bench.export(plain) if signed else zones.text(bench.folder), only=peers)
            if not signed:
                others.append(bench.gdnsd(zones.gdnsd(bench.folder / "gdnsd-zone", backends.port)))
            for server in filter(None, [with_policies, *others]):
                bench.start(server)
            time.sleep(2 * zones.INTERVAL_S)
            word = "signed (P-256, NSEC), DO set" if signed else "unsigned"
            load = Workload("policies-signed" if signed else "policies", f"UDP mix, {word}", mix, flags)
            tables.append(report.table(load.title, bench.rounds([load])[load.key]))
            bench.stop_all()
    return "\n\n".join(tables)


def limited(bench: Bench) -> str:
    """Response rate limiting on: at a rate that is not reached, and at one that nearly everything is beyond."""
    mix, gone = zones.queries(bench.folder)
    with closing(Backends(zones.backends())) as backends:
        zone, text = zones.hale(bench.folder, backends.port, False), zones.text(bench.folder)
        backends.flap(zones.flapping(), zones.FLIPS)

        def measured(limit: int, load: Workload) -> dict:
            bench.start(bench.hale(zone, limit=limit))
            for server in bench.static(text, only=("nsd", "knot"), limit=limit):
                bench.start(server)
            time.sleep(2 * zones.INTERVAL_S)
            results = bench.rounds([load])[load.key]
            bench.stop_all()
            return results

        high = measured(LIMIT, Workload("limited", "", mix))
        low = measured(LOW_LIMIT, Workload("withheld", "", gone, FLOOD, withheld=True))
    return "\n\n".join([
        report.table(f"UDP mix, unsigned, rate limiting on ({LIMIT:,} responses a second, so that none is dropped)", high),
        report.table(f"random names, unsigned, {int(FLOOD[1]):,} queries a second sent, {LOW_LIMIT} responses a second allowed", low)
        + "\n\nEvery second response beyond the rate is truncated, the others are dropped (\"lost\"); CPU is by query received.",
    ])


def counted(bench: Bench) -> str:
    """Instructions in user mode, of all threads; checks are too far apart to be among them."""
    if not instructions.available():
        return "Not measured: valgrind is not there."
    mix, gone = zones.queries(bench.folder)
    plain = instructions.loads(bench.folder, [
        ("mix", "mix", mix, ()), ("random", "random names", gone, ()), ("tcp", "TCP pipelined", mix, ("-m", "tcp")),
    ])
    secure = instructions.loads(bench.folder, [("mix-signed", "mix, signed, DO", mix, ("-D",)), ("random-signed", "random names, signed, DO", gone, ("-D",))])
    counts: dict[str, dict[str, float]] = {}

    def count(server, pairs):
        # One after the other: under callgrind each takes a core.
        if server is None or bench.start(instructions.under_callgrind(server)) is None:
            return
        try:
            for short, long in pairs:
                each = instructions.a_query(bench.generator, server, short, long)
                counts.setdefault(server.name, {})[short.key] = each
                say(f"{server.name:11} {short.key:14} {each:8.0f} instructions a query")
        except (RuntimeError, subprocess.SubprocessError) as error:
            if server.name == "hale":
                raise
            say(f"{server.name}: {error}")
            bench.missing.append(f"{server.name} (fails under callgrind)")
        finally:
            server.stop()
            bench.running.remove(server)

    with closing(Backends(zones.backends())) as backends:
        count(bench.hale(zones.hale(bench.folder, backends.port, False, LONG_S)), plain)
        limited = bench.hale(zones.hale(bench.folder, backends.port, False, LONG_S), limit=LIMIT)
        limited.name = "hale+rrl"
        count(limited, plain[:2])
        count(bench.gdnsd(zones.gdnsd(bench.folder / "gdnsd-zone", backends.port, LONG_S)), plain)
        for server in bench.static(zones.text(bench.folder)):
            count(server, plain[:1] if server.name == "nsd-default" else plain)
        zone = zones.hale(bench.folder, backends.port, True, LONG_S)
        hale = bench.start(bench.hale(zone))
        exported = bench.export(hale)
        bench.stop_all()
        count(bench.hale(zone), secure)
        for server in bench.static(exported, only=("nsd", "knot", "bind")):
            count(server, secure)
    titles = {short.key: short.title for short, _ in [*plain, *secure]}
    groups = [(title, [(name, [got[key]], None) for name, got in counts.items() if key in got]) for key, title in titles.items()]
    picture = drawn(bench, "instructions", "Instructions a query in user mode", groups, "counted by callgrind; bars that are cut bear their figure")
    return picture + "\n\nIn brackets Hale's by it; \"hale+rrl\" is Hale with rate limiting on.\n\n" + report.instruction_table(titles, counts)


def many(bench: Bench) -> str:
    """Loaded one after the other on all cores, then asked in turn on core 0."""
    count = bench.options.many
    mix, _ = zones.queries(bench.folder, count)
    zone, last = zones.many_text(bench.folder / "many", count), f"h{count - 1}.{zones.APEX}"
    made = [bench.hale(zones.many_json(bench.folder, count), core=None), bench.gdnsd(("", zone), core=None)]
    made += bench.static(zone, only=("nsd", "knot", "bind", "pdns"), core=None)
    rows = [(server.name, server.load_s, settled(server)) for server in filter(None, made) if bench.start(server, last)]
    samples = asked_on_one_core(bench, Workload("many", "many", mix))
    bench.stop_all()
    return f"{count:,} names, one A each, no checks, unsigned:\n\n{report.many_table(rows, samples)}\n\n{idle(bench)}"


def settled(server) -> tuple[float, float]:
    """Its memory once it has had time to give back what only the load needed."""
    time.sleep(SETTLED_S)
    return server.memory()


def asked_on_one_core(bench: Bench, load: Workload) -> dict:
    for server in bench.running:
        say(f"{server.name}: loaded in {server.load_s:.2f} s")
        server.pin(0)
    return bench.rounds([load])[load.key]


def many_signed(bench: Bench) -> str:
    """Hale reads JSON and signs; the others load what it exported. Then Hale once more, with the signatures it has kept."""
    count = bench.options.many
    mix, _ = zones.queries(bench.folder, count)
    last = f"h{count - 1}.{zones.APEX}"
    hale = bench.start(bench.hale(zones.many_json(bench.folder, count, True), core=None), last)
    first, exported = ("hale, signing all", hale.load_s, settled(hale)), bench.export(hale)
    hale.stop()
    hale.start(last)
    rows = [first]
    for server in bench.static(exported, only=("nsd", "knot"), core=None):
        bench.start(server, last)
    rows += [(server.name, server.load_s, settled(server)) for server in bench.running]
    samples = asked_on_one_core(bench, Workload("many-signed", "many", mix, ("-D",)))
    bench.stop_all()
    exported.unlink()
    return f"{count:,} names, one A each, signed (P-256, NSEC), DO set; the second start of Hale finds the signatures of the first:\n\n" \
        + report.many_table(rows, samples)


def idle(bench: Bench) -> str:
    zone = bench.folder / "example.json"
    shutil.copy(ROOT / "zones" / "example.json", zone)
    hale = bench.start(bench.hale(zone), "example.test")
    time.sleep(3)
    before = hale.cpu()
    time.sleep(5)
    after = hale.cpu()
    spent = sum(a.user + a.system - b.user - b.system for a, b in zip(after, before, strict=True))
    resident, peak = hale.memory()
    bench.stop_all()
    return f"Idle with `zones/example.json` and one worker: {resident:.1f} MiB resident ({peak:.1f} at most), {spent / 5:.2%} of a core."


def health(bench: Bench) -> str:
    """CPU of all threads but those of DNS, a check. One server at a time, nobody asks."""
    rows = []
    for count, interval_s in ((5_000, 5), (20_000, 10)):
        with closing(Backends(["0.0.0.0"])) as backends:
            admin = f"127.0.0.1:{servers.free_port()}"
            # Hale's checks reset the connection in place of the handshake's last packet, so that the backend sees none: it counts them itself.
            made = [(bench.hale(zones.targets_hale(bench.folder, backends.port, count, interval_s), admin=admin), lambda: probes(admin))]
            made.append((bench.gdnsd(zones.targets_gdnsd(bench.folder / f"targets-{count}", backends.port, count, interval_s)), lambda: backends.accepted))
            for server, checks in made:
                if server is None or bench.start(server) is None:
                    continue
                # The first round is a burst, and not what a running server does.
                time.sleep(1.5 * interval_s)
                began, before, spent = time.monotonic(), checks(), server.cpu()[1]
                user_s = bench.generator.user_s([tid for tid, is_dns, _ in server.threads() if not is_dns], 3 * interval_s)
                made_checks, spent, rate = checks() - before, server.cpu()[1] - spent, (checks() - before) / (time.monotonic() - began)
                rows.append((server.name, count, interval_s, rate, rate / count * interval_s,
                             (spent.user if user_s is None else user_s) / made_checks * 1e6, (spent.user + spent.system) / made_checks * 1e6))
                say("{} {} targets every {} s: {:.0f} checks/s ({:.1%} of those due), {:.1f} µs user, {:.1f} in all".format(*rows[-1]))
                bench.stop_all()
    return report.health_table(rows)


def probes(admin: str) -> int:
    """Checks that Hale has made so far."""
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    return sum(int(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("hale_probes_total{"))


def drawn(bench: Bench, name: str, title: str, groups, unit: str = "µs; dark: user, light: system; median of the rounds, line: least to most; bars that are cut bear their figure") -> str:
    if not bench.options.dry:
        plot.bars(DOCS / f"performance-{name}.svg", title, groups, unit)
    return f"![{title}](performance-{name}.svg)"


def flips(bench: Bench) -> str:
    """benches/flips: from a verdict to the answer that shows it, and what signing costs beside kzonesign."""
    if not shutil.which("cargo"):
        return "Not measured: cargo is not there, which builds benches/flips."
    bench.used.update({"hale", "knot"} & set(bench.programs))
    return printed(["cargo", "bench", "--quiet", "--locked", "--bench", "flips"])


def flood(bench: Bench) -> str:
    """benches/peers/flood, in network namespaces of its own."""
    bench.used.update(bench.programs)
    return flooded(bench)


def fair(bench: Bench) -> str:
    bench.used.add("hale")
    return flooded(bench, "--fair")


def flooded(bench: Bench, *more: str) -> str:
    options = ["--dry", "--hale", bench.programs["hale"], "--seconds", str(min(bench.options.seconds, 5)), "--rounds", str(bench.options.rounds)]
    text = printed([sys.executable, str(Path(__file__).with_name("flood")), *options, *more])
    return text.split("\n\nNot there:")[0] or "Not measured: network namespaces need root and ip(8)."


def printed(command: list[str]) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, timeout=3600, stdout=subprocess.PIPE, text=True).stdout.strip()
