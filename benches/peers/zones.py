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
INTERVAL_S = 5
FLIPS = 100
TTL = 20
SEED = 1035
FIRST = int(ipaddress.IPv4Address("127.10.0.1"))
SOA = "ns1.bench.test. hostmaster.bench.test. 1 3600 900 604800 300"


def v4(name, index, per_name=PER_NAME):
    """The address of one backend: all of them different, so that each is a check of its own."""
    return str(ipaddress.IPv4Address(FIRST + name * per_name + index))


def v6(name):
    return f"2001:db8::{name + 1:x}"


def backends() -> list[str]:
    return [v4(name, index) for name in range(NAMES) for index in range(PER_NAME)]


def flapping() -> list[str]:
    """The first backend of each name. The two others stay, so that no name is ever without."""
    return [v4(name, 0) for name in range(NAMES)]


def hale(folder: Path, check_port: int, signed: bool, interval_s: int = INTERVAL_S) -> Path:
    """Every name with a TCP check. The IPv6 address is probed at the name's second IPv4 backend, since 127/8 has no IPv6 kin."""
    records = {"ns1": ["192.0.2.53"]}
    for name in range(NAMES):
        owner = {"A": [v4(name, index) for index in range(PER_NAME)], "check": tcp_check(check_port, interval_s)}
        if name % 2 == 0:
            owner["AAAA"] = [{"address": v6(name), "probe": v4(name, 1)}]
        records[f"h{name}"] = owner
    zone = {"zone": APEX, "nameservers": [f"ns1.{APEX}"], "records": records}
    if signed:
        zone["dnssec"] = {"keys": "auto"}
    return written(folder / f"hale-{'signed' if signed else 'plain'}-{interval_s}.json", json.dumps(zone, indent=1))


# The policies of the section of that name, in turn over the names.
POLICIES = ("weighted", "hashed", "geo", "failover", "answers")


def policies(folder: Path, check_port: int, signed: bool) -> Path:
    """As `hale`, every name with a policy over the same addresses. The clients of a measurement come from 127/8: `geo` has networks there, and elsewhere."""
    records = {"ns1": ["192.0.2.53"]}
    for name in range(NAMES):
        addresses = [v4(name, index) for index in range(PER_NAME)]
        owner = {"check": tcp_check(check_port, INTERVAL_S)}
        policy = POLICIES[name // 2 % len(POLICIES)]
        owner["policy"] = "all" if policy == "answers" else policy
        if policy == "geo":
            pools = [{"A": [address]} for address in addresses]
            owner["map"] = {"127.0.0.0/8": pools[0], "127.0.0.0/24": pools[1], "10.0.0.0/8": pools[2], "default": pools[2]}
        elif policy == "failover":
            weighted = {"name": "far", "policy": "weighted", "A": addresses[1:]}
            owner["pools"] = [{"name": "near", "A": addresses[:1]}, weighted]
        else:
            owner["A"] = addresses
        if policy == "answers":
            owner["answers"] = 2
        if name % 2 == 0:
            far = {"address": v6(name), "probe": v4(name, 1)}
            for holder in owner.get("pools", []) + list(owner.get("map", {}).values()) or [owner]:
                holder["AAAA"] = [far]
        records[f"h{name}"] = owner
    zone = {"zone": APEX, "nameservers": [f"ns1.{APEX}"], "records": records}
    if signed:
        zone["dnssec"] = {"keys": "auto"}
    return written(folder / f"policies-{'signed' if signed else 'plain'}.json", json.dumps(zone, indent=1))


def tcp_check(port: int, interval_s: int) -> dict:
    """One probe decides, so that a flip follows a backend within the interval."""
    return {"tcp": port, "interval": f"{interval_s}s", "timeout": "2s", "rise": 1, "fall": 1}


def targets_hale(folder: Path, check_port: int, count: int, interval_s: int) -> Path:
    """`count` names with one checked address each."""
    records = {f"h{name}": {"A": [v4(name, 0, 1)], "check": tcp_check(check_port, interval_s)} for name in range(count)}
    zone = {"zone": APEX, "nameservers": [f"ns1.{APEX}"], "records": {"ns1": ["192.0.2.53"], **records}}
    return written(folder / f"targets-{count}.json", json.dumps(zone))


def targets_gdnsd(folder: Path, check_port: int, count: int, interval_s: int) -> tuple[str, Path]:
    resources = [f"  h{name} => {{ addrs_v4 => {{ service_types => check, b0 => {v4(name, 0, 1)} }} }}" for name in range(count)]
    lines = [f"@ SOA {SOA}", "@ NS ns1", "ns1 A 192.0.2.53"] + [f"h{name} {TTL} DYNA multifo!h{name}" for name in range(count)]
    return gdnsd_written(folder, check_port, interval_s, resources, lines)


def text(folder: Path) -> Path:
    lines = [f"$ORIGIN {APEX}.", f"$TTL {TTL}", f"@ SOA {SOA}", "@ NS ns1", "ns1 A 192.0.2.53"]
    for name in range(NAMES):
        lines += [f"h{name} A {v4(name, index)}" for index in range(PER_NAME)]
        if name % 2 == 0:
            lines.append(f"h{name} AAAA {v6(name)}")
    return written(folder / "plain.zone", "\n".join(lines) + "\n")


def lua(folder: Path, check_port: int) -> Path:
    """PowerDNS's way: a script for each address RRset, which answers with the addresses whose port is open."""
    lines = [f"$ORIGIN {APEX}.", f"$TTL {TTL}", f"@ SOA {SOA}", "@ NS ns1", "ns1 A 192.0.2.53"]
    for name in range(NAMES):
        addresses = ", ".join(f"'{v4(name, index)}'" for index in range(PER_NAME))
        lines.append(f'h{name} LUA A "ifportup({check_port}, {{{addresses}}}, {{selector=\'all\'}})"')
        if name % 2 == 0:
            lines.append(f"h{name} AAAA {v6(name)}")
    return written(folder / "lua.zone", "\n".join(lines) + "\n")


def gdnsd(folder: Path, check_port: int, interval_s: int = INTERVAL_S) -> tuple[str, Path]:
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
    return gdnsd_written(folder, check_port, interval_s, resources, lines)


def gdnsd_written(folder: Path, check_port: int, interval_s: int, resources, lines) -> tuple[str, Path]:
    config = (
        f"service_types => {{ check => {{ plugin => tcp_connect, port => {check_port}, interval => {interval_s}, timeout => 2,"
        f" up_thresh => 1, ok_thresh => 1, down_thresh => 1 }} }}\n"
        "plugins => { multifo => {\n" + "\n".join(resources) + "\n} }\n"
    )
    folder.mkdir(exist_ok=True)
    return config, written(folder / APEX, f"$TTL {TTL}\n" + "\n".join(lines) + "\n")


def many_json(folder: Path, count: int, signed: bool = False) -> Path:
    """`count` names with one address each and no check."""
    path = folder / f"many-{'signed' if signed else 'plain'}-{count}.json"
    keys = '"dnssec": {"keys": "auto"}, ' if signed else ""
    with path.open("w") as file:
        file.write(f'{{"zone": "{APEX}", "nameservers": ["ns1.{APEX}"], {keys}"records": {{\n"ns1": ["192.0.2.53"]')
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
