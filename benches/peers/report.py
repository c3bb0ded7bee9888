"""Tables of docs/performance.md."""

import statistics
from pathlib import Path

from measure import ratio


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
        lines.append(row(cells))
    return "\n".join(lines)


def row(cells) -> str:
    return "| " + " | ".join(cells) + " |"


def spread(own, peer) -> str:
    got = ratio(own, peer)
    return "–" if got is None else f"**{got[0]:.2f}** ({got[1]:.2f}–{got[2]:.2f})"


def latency_table(title: str, results: dict) -> str:
    lines = [f"#### {title}", "", "| server | p50 µs | p99 µs | Hale's p99 ÷ its |", "|---|---|---|---|"]
    own = [p99 for _, p99 in results["hale"]]
    for name, got in results.items():
        cell = "" if name == "hale" else spread(own, [p99 for _, p99 in got])
        lines.append(row([name, f"{median(a for a, _ in got):.0f}", f"{median(b for _, b in got):.0f}", cell]))
    return "\n".join(lines)


def instruction_table(titles: dict, counts: dict) -> str:
    """`counts`: server → workload → instructions a query; in brackets Hale's by it."""
    lines = [row(["server", *titles.values()]), "|---" * (len(titles) + 1) + "|"]
    for name, got in counts.items():
        cells = [name]
        for key in titles:
            if key not in got:
                cells.append("")
                continue
            own = counts["hale"].get(key)
            cells.append(f"{got[key]:,.0f}" + ("" if name == "hale" or not own else f" (**{own / got[key]:.2f}**)"))
        lines.append(row(cells))
    return "\n".join(lines)


def health_table(rows) -> str:
    lines = [row(["server", "targets", "every s", "checks/s", "of those due", "user µs", "CPU µs", "Hale's CPU ÷ its"]), "|---" * 8 + "|"]
    hale = {count: total for name, count, _, _, _, _, total in rows if name == "hale"}
    for name, count, interval, rate, share, user, total in rows:
        cell = "" if name == "hale" else f"**{hale[count] / total:.2f}**"
        lines.append(row([name, f"{count:,}", str(interval), f"{rate:,.0f}", f"{share:.1%}", f"{user:.1f}", f"{total:.1f}", cell]))
    return "\n".join(lines)


def many_table(rows, samples: dict) -> str:
    """`rows`: name, seconds of loading, memory, whether its queries were measured."""
    lines = ["| server | load s | RSS MiB after load | peak MiB | user µs | CPU µs | Hale's CPU ÷ its |", "|---|---|---|---|---|---|---|"]
    hale = samples["hale"]
    for name, load_s, memory in rows:
        cells = [name, f"{load_s:.1f}", f"{memory[0]:.0f}", f"{memory[1]:.0f}"]
        got = samples.get(name)
        if got:
            cells += [f"{median(s.user for s in got):.2f}", f"{median(s.total for s in got):.2f}",
                      "" if name == "hale" else spread([s.total for s in hale], [s.total for s in got])]
        else:
            cells += ["", "", ""]
        lines.append(row(cells))
    return "\n".join(lines)


def cpu_groups(results: dict, titles: dict) -> list:
    """For [`plot.bars`]: user time below, system time above it, the rounds' range as a line."""
    def one(name, got):
        user, total = median(s.user for s in got), median(s.total for s in got)
        return name, [min(user, total), max(total - user, 0)], (min(s.total for s in got), max(s.total for s in got))
    return [(title, [one(name, got) for name, got in results[key].items()]) for key, title in titles.items()]


def replace_between(path: Path, marker: str, content: str):
    """Puts `content` between `<!-- marker:begin -->` and `<!-- marker:end -->`; the rest of the file stays as it is."""
    begin, end = f"<!-- {marker}:begin -->", f"<!-- {marker}:end -->"
    text = path.read_text() if path.exists() else "# Performance\n"
    if begin not in text:
        text += f"\n{begin}\n{end}\n"
    head, rest = text.split(begin, 1)
    path.write_text(f"{head}{begin}\n{content}\n{end}{rest.split(end, 1)[1]}")
