"""Tables and the plot of docs/performance.md."""

import statistics
from pathlib import Path

from measure import ratio

COLOURS = {"hale": "#0b6e4f", "gdnsd": "#9a6fb0", "nsd": "#4c78a8", "knot": "#f0a030", "bind": "#888888", "pdns": "#c0504d"}


def median(values) -> float:
    return statistics.median(list(values))


def table(title: str, samples: dict) -> str:
    """One workload: absolute medians, and Hale's figure by the peer's, round by round."""
    lines = [
        f"#### {title}", "",
        "| server | user µs | CPU µs | answered/s | lost | bytes | NXDOMAIN | Hale's user ÷ its | Hale's CPU ÷ its |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    hale = samples["hale"]
    for name, got in samples.items():
        cells = [
            name, f"{median(s.user for s in got):.2f}", f"{median(s.total for s in got):.2f}",
            f"{median(s.rate for s in got):,.0f}", f"{median(s.lost for s in got):.2%}",
            f"{median(s.size for s in got):.0f}", f"{median(s.absent for s in got):.1%}",
        ]
        for key in ("user", "total"):
            cells.append("" if name == "hale" else spread([getattr(s, key) for s in hale], [getattr(s, key) for s in got]))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def spread(own, peer) -> str:
    got = ratio(own, peer)
    return "–" if got is None else f"**{got[0]:.2f}** ({got[1]:.2f}–{got[2]:.2f})"


def latency_table(title: str, results: dict) -> str:
    lines = [f"#### {title}", "", "| server | p50 µs | p99 µs | Hale's p99 ÷ its |", "|---|---|---|---|"]
    own = [p99 for _, p99 in results["hale"]]
    for name, got in results.items():
        cell = "" if name == "hale" else spread(own, [p99 for _, p99 in got])
        lines.append(f"| {name} | {median(a for a, _ in got):.0f} | {median(b for _, b in got):.0f} | {cell} |")
    return "\n".join(lines)


def many_table(servers, samples: dict) -> str:
    lines = ["| server | load s | RSS MiB after load | peak MiB | user µs | CPU µs | Hale's CPU ÷ its |", "|---|---|---|---|---|---|---|"]
    for server, memory in servers:
        got, hale = samples[server.name], samples["hale"]
        cell = "" if server.name == "hale" else spread([s.total for s in hale], [s.total for s in got])
        lines.append(
            f"| {server.name} | {server.load_s:.1f} | {memory[0]:.0f} | {memory[1]:.0f} | {median(s.user for s in got):.2f} |"
            f" {median(s.total for s in got):.2f} | {cell} |"
        )
    return "\n".join(lines)


def plot(path: Path, groups: list[tuple[str, dict]]):
    """Bars of CPU a query, a group for each workload: user time dark, system time light, the rounds' range as a whisker."""
    bar, gap, left, top, height = 26, 34, 56, 44, 260
    most = max(s.total for _, samples in groups for got in samples.values() for s in got) * 1.08
    y = lambda value: top + height * (1 - value / most)  # noqa: E731
    body, x = [], left + 16
    for title, samples in groups:
        begin = x
        for name, got in samples.items():
            colour, user, total = COLOURS.get(name, "#555"), median(s.user for s in got), median(s.total for s in got)
            low, high, middle = min(s.total for s in got), max(s.total for s in got), x + bar / 2 - 2
            body += [
                f'<rect x="{x}" y="{y(total):.1f}" width="{bar - 4}" height="{y(0) - y(total):.1f}" fill="{colour}" fill-opacity=".45"/>',
                f'<rect x="{x}" y="{y(user):.1f}" width="{bar - 4}" height="{y(0) - y(user):.1f}" fill="{colour}"/>',
                f'<path d="M{middle} {y(low):.1f}V{y(high):.1f}" stroke="#222"/>',
                f'<text x="{middle}" y="{y(0) + 12:.1f}" text-anchor="end" transform="rotate(-45 {middle} {y(0) + 12:.1f})">{name}</text>',
            ]
            x += bar
        body.append(f'<text x="{(begin + x) / 2:.0f}" y="{top + height + 62}" text-anchor="middle" font-weight="bold">{title}</text>')
        x += gap
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100) if most / s <= 8 or s == 100)
    axis = [
        f'<path d="M{left} {y(v):.1f}H{x - gap + 8}" stroke="#ddd"/><text x="{left - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{v}</text>'
        for v in range(0, int(most) + 1, step)
    ]
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {x} {top + height + 80}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n<text x="{left}" y="20" font-size="14" font-weight="bold">CPU of the DNS threads a query,'
        ' µs: user (dark) and system (light); median of the rounds, line: least to most</text>\n'
        + "\n".join(axis + body) + "\n</svg>\n"
    )


def replace_between(path: Path, marker: str, content: str):
    """Puts `content` between `<!-- marker:begin -->` and `<!-- marker:end -->`; the rest of the file stays as it is."""
    begin, end = f"<!-- {marker}:begin -->", f"<!-- {marker}:end -->"
    text = path.read_text() if path.exists() else "# Performance\n"
    if begin not in text:
        text += f"\n{begin}\n{end}\n"
    head, rest = text.split(begin, 1)
    path.write_text(f"{head}{begin}\n{content}\n{end}{rest.split(end, 1)[1]}")
