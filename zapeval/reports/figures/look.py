"""The look of every printed figure: colours, markers, sizes, and how figures are saved."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from zapeval.errors import StorageError, UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIBRARIES = ("matplotlib", "altair")
"""What draws for print and for the web; ``require(*LIBRARIES)`` asks for them before any work."""

WIDTH = 7.2  # inches: two columns of a journal

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, told apart by colour-blind eyes; their yellow is too pale for paper."""

SKILL = ("#D55E00", "#F7F7F7", "#0072B2")
"""Worse than the baseline, as good, better: ends that colour-blind eyes tell apart."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
DASHES: tuple[Any, ...] = ("solid", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)))

STYLE: dict[Any, Any] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 200,
    "font.size": 7,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.4,
    "pdf.fonttype": 42,
    "text.parse_math": False,
}
"""What differs from matplotlib's defaults; a user's own settings never reach a figure."""


def of(index: int) -> tuple[str, str]:
    """Returns colour and marker of the entry at an index; the first 56 differ."""
    return COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]


def require(*modules: str) -> None:
    """Checks that what draws is installed.

    Raises:
        UsageError: It is not.
    """
    absent = [name for name in modules if find_spec(name) is None]
    if absent:
        raise UsageError(f'figures: need {" and ".join(absent)}; pip install "zapeval[figures]"')


def shade_of(skill: float, limit: float) -> tuple[str, str]:
    """Returns the colour of a cell, and black or white to write on it.

    Args:
        skill: The skill.
        limit: Skill, above or below 0, from which on the colour stays the same.
    """
    share = max(-1.0, min(1.0, skill / limit))
    middle, end = (_channels(SKILL[1]), _channels(SKILL[2] if share > 0 else SKILL[0]))
    mixed = [a + abs(share) * (b - a) for a, b in zip(middle, end, strict=True)]
    face = "#" + "".join(f"{round(255 * channel):02X}" for channel in mixed)
    return face, max("black", "white", key=lambda ink: contrast(face, ink))


def contrast(one: str, other: str) -> float:
    """Returns the contrast of two colours, 1 to 21 (WCAG 2.2, relative luminance)."""
    low, high = sorted(map(_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    channels = _channels({"black": "#000000", "white": "#FFFFFF"}.get(colour, colour))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _channels(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))


def top_of(values: Sequence[float], ends: Iterable[float | None] = ()) -> float | None:
    """Returns where an axis of errors ends so that few huge ones don't flatten all others.

    Errors above twice the median are left outside; None where there are none of them.

    Args:
        values: The errors.
        ends: Upper ends of intervals, where there are some.
    """
    limit = 2 * median(values) if values else 0.0
    if all(value <= limit for value in values):
        return None
    inside = [value for value in values if value <= limit]
    return 1.05 * max(*inside, *(end for end in ends if end is not None and end <= limit))


@contextmanager
def style() -> Iterator[None]:
    """Gives a block in which figures are made and saved in this look.

    Raises:
        UsageError: Matplotlib is not installed.
    """
    require("matplotlib")
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def save(figures: Mapping[str, Figure], folder: Path, *, title: str, about: str) -> list[Path]:
    """Saves each figure as ``NAME.png`` (200 dpi) and ``NAME.pdf``, and returns the files.

    Equal figures give equal bytes.

    Args:
        figures: Figures by name.
        folder: Where; it is made if need be.
        title: Title that the files carry.
        about: What the files say of where their numbers come from.

    Raises:
        UsageError: Matplotlib is not installed.
        StorageError: A file can't be written.
    """
    # No date and no version of the software, which would differ between runs.
    png = {"Title": title, "Description": about, "Software": None}
    pdf = {"Title": title, "Subject": about, "CreationDate": None}
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A mark that the font lacks is drawn as a box; names may be in any script.
        with style(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            for name, figure in figures.items():
                for ending, metadata in (("png", png), ("pdf", pdf)):
                    paths.append(folder / f"{name}.{ending}")
                    figure.savefig(paths[-1], metadata=metadata)
    except OSError as error:
        raise StorageError(f"{folder}: can't hold figures: {error}; name another") from error
    return paths


def key(figure: Figure, legend: Mapping[str, Any]) -> None:
    """Puts the legend above, handles by label; the figure grows with its rows."""
    # The space keeps a label that matplotlib 3.9 hides for its "_".
    labels = [f" {label}" for label in legend]
    rows = math.ceil(len(labels) / max(1, 120 // (8 + max(map(len, labels)))))
    columns = math.ceil(len(labels) / rows)
    figure.set_figheight(figure.get_figheight() + 0.145 * (rows - 1))
    figure.legend(list(legend.values()), labels, loc="outside upper center", ncols=columns)


def note(figure: Figure, text: str) -> None:
    """Puts a sentence below all, broken into lines where it is long."""
    lines = textwrap.wrap(text, 150)
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", color="0.3", size=6.5)
