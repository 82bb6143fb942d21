"""Drawing: small pictures inside tables, as SVG that needs no script and no style of its own."""

from __future__ import annotations

from markupsafe import Markup

WIDTH, HEIGHT = 96, 14

_SVG = Markup(
    '<svg class="spark" viewBox="0 0 {w} {h}" width="{w}" height="{h}" aria-hidden="true" '
    'focusable="false">{body}</svg>'
)
_RANGE = Markup(
    '<line class="spark-axis" x1="0" y1="{mid}" x2="{w}" y2="{mid}"/>'
    '<rect class="spark-range" x="{x}" y="{top}" width="{wide}" height="{tall}" rx="2"/>'
)
_DOT = Markup('<circle class="spark-dot" cx="{x}" cy="{mid}" r="3.5"/>')


def ranks(low: int, high: int, rank: int | None, widest: int) -> Markup:
    """Returns a rank's interval on a scale from 1 to the largest rank, the rank as a dot."""
    span = max(1, widest - 1)
    start, stop = (_at((end - 1) / span) for end in (low, high))
    body = _RANGE.format(
        w=WIDTH,
        mid=HEIGHT / 2,
        x=round(start - 3, 1),
        wide=round(stop - start + 6, 1),
        top=HEIGHT / 2 - 3,
        tall=6,
    )
    if rank is not None:
        body += _DOT.format(x=_at((rank - 1) / span), mid=HEIGHT / 2)
    return _SVG.format(w=WIDTH, h=HEIGHT, body=body)


def share(value: float, largest: float) -> Markup:
    """Returns a bar as long as a value's share of the largest."""
    wide = round(WIDTH * max(0.0, min(1.0, value / largest if largest else 0.0)), 1)
    bar = Markup('<rect class="spark-bar" x="0" y="3" width="{wide}" height="8" rx="1.5"/>')
    return _SVG.format(w=WIDTH, h=HEIGHT, body=bar.format(wide=wide))


def _at(part: float) -> float:
    return round(5 + part * (WIDTH - 10), 1)
