"""The figures as a table for people and as a picture."""

from typing import Any
from xml.sax.saxutils import escape

COLOURS = ("#0b7a75", "#7a9e9f", "#b8a07e", "#c25b4e")
HEAD = "| | RTT | seconds (from - to) | ratio | channels | round trips | KB out, in | CPU | MB |"


def table(found: dict[str, Any]) -> str:
    """Markdown. The ratio is to the first of its kind at that distance."""
    machine = found["machine"]
    runs = max((row["runs"] for row in found["results"]), default=0)
    lines = [
        f"{machine['cores']} cores, load {machine['load'][0]} when it began, {found['os']}, "
        f"commit {machine['commit']}; medians of {runs}."
    ]
    for what in dict.fromkeys(row["what"] for row in found["results"]):
        rows = [row for row in found["results"] if row["what"] == what]
        lines += ["", f"**{what}**", "", HEAD, "|---|" + "---|" * 8]
        lines += [_line(row, rows) for row in rows]
    return "\n".join(lines)


def _line(row: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    first = next(one for one in rows if one["asked_ms"] == row["asked_ms"])
    channels, memory = ("-" if row[key] is None else row[key] for key in ("channels", "memory_mb"))
    return (
        f"| {row['way']} | {row['rtt_ms']:.1f} ms | {row['seconds']:.2f} ({row['least']:.2f} - "
        f"{row['most']:.2f}) | {row['seconds'] / first['seconds']:.1f} | {channels} | "
        f"{row['turns']} | {row['kb_sent']:.0f} / {row['kb_received']:.0f} | "
        f"{row['cpu']:.2f} | {memory} |"
    )


def plot(found: dict[str, Any]) -> str:
    """Bars, an SVG."""
    rows, parts, y = found["results"], [], 20
    for what in dict.fromkeys(row["what"] for row in rows):
        of_kind = [row for row in rows if row["what"] == what]
        longest = max(row["seconds"] for row in of_kind)
        ways = list(dict.fromkeys(row["way"] for row in of_kind))
        parts.append(f'<text x="10" y="{y}" font-weight="bold">{escape(what)}</text>')
        for row in of_kind:
            y += 20
            width = max(1, round(420 * row["seconds"] / longest))
            colour = COLOURS[ways.index(row["way"]) % len(COLOURS)]
            parts += [
                f'<text x="10" y="{y}">{escape(row["way"])}, {row["rtt_ms"]:.0f} ms</text>',
                f'<rect x="260" y="{y - 11}" width="{width}" height="14" fill="{colour}"/>',
                f'<text x="{266 + width}" y="{y}">{row["seconds"]:.2f} s</text>',
            ]
        y += 40
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{y}"'
    return "\n".join([f'{head} font-family="sans-serif" font-size="12">', *parts, "</svg>", ""])
