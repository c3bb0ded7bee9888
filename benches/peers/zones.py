"""The zones all servers serve and the queries they are asked.

The same records go out in each server's own form: Hale's JSON, RFC 1035 text, and gdnsd's text with dynamic names.
"""

import ipaddress
import json
import random
from pathlib import Path

APEX = "bench.test"
NAMES = 1000
PER_NAME = 3
INTERVAL_S = 10
TTL = 20
SEED = 1035
FIRST = int(ipaddress.IPv4Address("127.10.0.1"))
SOA = "ns1.bench.test. hostmaster.bench.test. 1 3600 900 604800 300"


def v4(name, index):
    """The address of one backend: all of them different, so that each is a check of its own."""
    return str(ipaddress.IPv4Address(FIRST + name * PER_NAME + index))


def v6(name):
    return f"2001:db8::{name + 1:x}"


def hale(folder: Path, check_port: int, signed: bool) -> Path:
    """Every name with a TCP check. The IPv6 address is probed at the name's first IPv4 backend, since 127/8 has no IPv6 kin."""
    records = {"ns1": ["192.0.2.53"]}
    for name in range(NAMES):
        owner = {
            "A": [v4(name, index) for index in range(PER_NAME)],
            "check": {"tcp": check_port, "interval": f"{INTERVAL_S}s", "timeout": "2s"},
        }
        if name % 2 == 0:
            owner["AAAA"] = [{"address": v6(name), "probe": v4(name, 0)}]
        records[f"h{name}"] = owner
    zone = {"zone": APEX, "nameservers": [f"ns1.{APEX}"], "records": records}
    if signed:
        zone["dnssec"] = {"keys": "auto"}
    return written(folder / f"hale-{'signed' if signed else 'plain'}.json", json.dumps(zone, indent=1))


def text(folder: Path) -> Path:
    lines = [f"$ORIGIN {APEX}.", f"$TTL {TTL}", f"@ SOA {SOA}", "@ NS ns1", "ns1 A 192.0.2.53"]
    for name in range(NAMES):
        lines += [f"h{name} A {v4(name, index)}" for index in range(PER_NAME)]
        if name % 2 == 0:
            lines.append(f"h{name} AAAA {v6(name)}")
    return written(folder / "plain.zone", "\n".join(lines) + "\n")


def gdnsd(folder: Path, check_port: int) -> tuple[str, Path]:
    """gdnsd's plugin configuration and zone: the same checks, by multifo and tcp_connect; IPv6 without a check of its own."""
    resources = []
    lines = [f"@ SOA {SOA}", "@ NS ns1", "ns1 A 192.0.2.53"]
    for name in range(NAMES):
        backends = ", ".join(f"b{index} => {v4(name, index)}" for index in range(PER_NAME))
        families = f"addrs_v4 => {{ service_types => check, {backends} }}"
        if name % 2 == 0:
            families += f", addrs_v6 => {{ service_types => up, b0 => {v6(name)} }}"
        resources.append(f"  h{name} => {{ {families} }}")
        lines.append(f"h{name} {TTL} DYNA multifo!h{name}")
    config = (
        f"service_types => {{ check => {{ plugin => tcp_connect, port => {check_port}, interval => {INTERVAL_S}, timeout => 2,"
        f" up_thresh => 2, ok_thresh => 1, down_thresh => 2 }} }}\n"
        "plugins => { multifo => {\n" + "\n".join(resources) + "\n} }\n"
    )
    folder.mkdir(exist_ok=True)
    return config, written(folder / APEX, f"$TTL {TTL}\n" + "\n".join(lines) + "\n")


def many_json(folder: Path, count: int) -> Path:
    """`count` names with one address each and no check."""
    path = folder / "many.json"
    with path.open("w") as file:
        file.write(f'{{"zone": "{APEX}", "nameservers": ["ns1.{APEX}"], "records": {{\n"ns1": ["192.0.2.53"]')
        for name in range(count):
            file.write(f',\n"h{name}": {{"A": ["{many_v4(name)}"]}}')
        file.write("\n}}\n")
    return path


def many_text(folder: Path, count: int) -> Path:
    """The same for the other servers; relative to the apex, which gdnsd takes from the file's name."""
    folder.mkdir(exist_ok=True)
    path = folder / APEX
    with path.open("w") as file:
        file.write(f"$TTL 300\n@ SOA {SOA}\n@ NS ns1\nns1 A 192.0.2.53\n")
        for name in range(count):
            file.write(f"h{name} A {many_v4(name)}\n")
    return path


def many_v4(name):
    return f"10.{name >> 16 & 255}.{name >> 8 & 255}.{name & 255}"


def queries(folder: Path, names: int = NAMES, count: int = 100_000) -> tuple[Path, Path]:
    """The mix and the random names, as dnsperf reads them; the same at each run."""
    rng = random.Random(SEED)
    absent = lambda: f"r{rng.getrandbits(64):016x}.{APEX}"  # noqa: E731
    present = lambda step=1: f"h{rng.randrange(0, names, step)}.{APEX}"  # noqa: E731
    mix = []
    for _ in range(count):
        draw = rng.random()
        if draw < 0.70:
            mix.append(f"{present()} A")
        elif draw < 0.80:
            mix.append(f"{present(2)} AAAA")
        elif draw < 0.90:
            mix.append(f"{absent()} A")
        elif draw < 0.95:
            mix.append(f"{APEX} {rng.choice(('SOA', 'NS'))}")
        else:
            mix.append("".join(rng.choice((c.lower(), c.upper())) for c in present()) + " A")
    gone = [f"{absent()} A" for _ in range(count)]
    return (
        written(folder / f"mix-{names}.queries", "\n".join(mix) + "\n"),
        written(folder / f"random-{names}.queries", "\n".join(gone) + "\n"),
    )


def written(path: Path, content: str) -> Path:
    path.write_text(content)
    return path
