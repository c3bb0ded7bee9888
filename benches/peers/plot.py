"""Bars as SVG, for pages that are read in a browser on white or dark ground alike."""

from pathlib import Path
from xml.sax.saxutils import escape

COLOURS = {"hale": "#0b6e4f", "gdnsd": "#9a6fb0", "nsd": "#4c78a8", "nsd-default": "#8fb0d3", "knot": "#f0a030", "bind": "#888888",
           "pdns": "#c0504d", "pdns-lua": "#e39a94", "hale+rrl": "#5fa58c"}
BAR, GAP, LEFT, TOP, HEIGHT, BELOW = 26, 36, 58, 72, 270, 96
# Width of a letter of a heading, about.
LETTER = 7


def short(value: float) -> str:
    return f"{value / 1000:.0f}k" if value >= 10_000 else f"{value:,.0f}"


def bars(path: Path, title: str, groups: list[tuple[str, list[tuple[str, list[float], tuple[float, float] | None]]]], unit: str):
    """Groups of bars `(name, parts from the ground up, range)`. What is far above the others is cut and written in figures."""
    totals = sorted(sum(parts) for _, some in groups for _, parts, _ in some)
    most = min(totals[-1], 2.5 * totals[len(totals) // 2]) * 1.08
    y = lambda value: TOP + HEIGHT * (1 - min(value, most) / most)  # noqa: E731
    ground, body, x = y(0), [], LEFT + 16
    for heading, some in groups:
        width = max(BAR * len(some), LETTER * len(heading))
        begin, x = x, x + (width - BAR * len(some)) / 2
        for name, parts, spread in some:
            colour, middle, below = COLOURS.get(name, "#555"), x + BAR / 2 - 2, 0.0
            for index, part in enumerate(parts):
                shade = 1 if index == 0 else 0.45
                body.append(f'<rect x="{x}" y="{y(below + part):.1f}" width="{BAR - 4}" height="{y(below) - y(below + part):.1f}" '
                            f'fill="{colour}" fill-opacity="{shade}"/>')
                below += part
            if below > most:
                body.append(f'<text x="{middle}" y="{TOP - 4}" text-anchor="middle" font-size="10">{short(below)}</text>')
            elif spread:
                body.append(f'<path d="M{middle} {y(spread[0]):.1f}V{y(spread[1]):.1f}" stroke="#222"/>')
            body.append(f'<text x="{middle + 4}" y="{ground + 12:.1f}" text-anchor="end" '
                        f'transform="rotate(-45 {middle + 4} {ground + 12:.1f})">{escape(name)}</text>')
            x += BAR
        body.append(f'<text x="{begin + width / 2:.0f}" y="{ground + BELOW - 16:.0f}" text-anchor="middle" font-weight="bold">{escape(heading)}</text>')
        x = begin + width + GAP
    width = x - GAP + 20
    step = next(s for n in range(9) for s in (10**n, 2 * 10**n, 5 * 10**n) if most / s <= 8)
    axis = [
        f'<path d="M{LEFT} {y(v):.1f}H{width - 10}" stroke="#ddd"/><text x="{LEFT - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{v:,}</text>'
        for v in range(0, int(most) + 1, step)
    ]
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {ground + BELOW:.0f}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n<text x="12" y="22" font-size="14" font-weight="bold">{escape(title)}</text>\n'
        f'<text x="12" y="{TOP - 30}" fill="#555">{escape(unit)}</text>\n' + "\n".join(axis + body) + "\n</svg>\n"
    )
