"""``zapeval data``: local copies of public recordings, and worms prepared from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zapeval.cli.console import Quiet, amount, note, progress, say
from zapeval.cli.forecast import StoredType
from zapeval.cli.video import Crop, Video, agree, plan_video, video_folder
from zapeval.errors import InvalidInput, NotFound, Refused, UsageError

if TYPE_CHECKING:
    from zapeval.benchmarks.celegans.preprocessing import Scale
    from zapeval.benchmarks.celegans.report import Report
    from zapeval.recordings.mirror import Mirror

app = typer.Typer(
    help="Mirror public recordings, verify the copy, prepare worms.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(metavar="BENCHMARK")]
Source = Annotated[
    str | None, typer.Option("--from", metavar="URI", help="Source; default: the public bucket.")
]


_SHOWN = 20


@app.command()
def fetch(
    name: Name,
    source: Source = None,
    video: Video = None,
    crop: Crop = None,
    dtype: Annotated[
        StoredType, typer.Option(help="Stored type of the video; float16 halves the size.")
    ] = StoredType.float32,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Fetch a video unasked.")] = False,
    quiet: Quiet = False,
) -> None:
    """Copy a benchmark's recording to the data folder; repeat an interrupted run to go on."""
    from zapeval.recordings.mirror import fetch as copy

    if video is None:
        _check_no_video_options(crop, yes)
    elif _has_worms(name):
        raise Refused(f"{name}: has no public video")
    if _has_worms(name):
        _fetch_export(source, quiet)
        return
    mirror = _mirror(name)
    place, folder, derived = source or mirror.source, mirror.folder, None
    with ExitStack() as stack:
        show = stack.enter_context(_counted("fetching", "files", quiet))
        if video is not None:
            frames = stack.enter_context(_counted("fetching", "frames", quiet))
            derived, folder = plan_video(
                name, mirror, place, video, crop=crop, dtype=dtype.value, progress=frames
            )
            agree(derived, folder, yes=yes, quiet=quiet)
        report = copy(place, mirror.items, folder, derived=derived, progress=show)
    if not quiet:
        size = amount(report.fetched_bytes, "bytes")
        count = f"{report.files:,} files, {report.fetched:,} of them fetched now ({size})"
        say(f"{folder}: {count}")


def _check_no_video_options(crop: str | None, yes: bool) -> None:
    if crop is not None or yes:
        raise UsageError("--crop, --yes: are for a video; say which with --video, as --video 4x")


@app.command()
def verify(name: Name, video: Video = None, quiet: Quiet = False) -> None:
    """Read every file of the copy and compare it with its recorded checksum."""
    from zapeval.recordings.mirror import verify as compare

    if _has_worms(name):
        _verify_worms(name, quiet)
        return
    folder = _mirror(name).folder if video is None else video_folder(name, _mirror(name), video)
    if not folder.exists():
        option = "" if video is None else f" --video {video}"
        raise NotFound(
            f"{folder}: does not exist; fetch it with `zapeval data fetch {name}{option}`"
        )
    with _counted("verifying", "files", quiet) as show:
        findings = compare(folder, progress=show)
    if findings:
        raise InvalidInput("\n".join(findings), findings)
    if not quiet:
        say(f"{folder}: every file is as it was fetched")


@app.command()
def where(name: Name, video: Video = None) -> None:
    """Print the folder that holds, or would hold, a benchmark's recording."""
    from zapeval.benchmarks.catalogue import find_recipe

    if video is not None:
        say(str(video_folder(name, _mirror(name), video)))
        return
    folder = find_recipe(name).folder()
    if folder is None:
        raise Refused(f"{name}: is defined over recordings of your own, wherever they are")
    say(str(folder))


@app.command()
def prepare(
    name: Name,
    source: Annotated[
        Path, typer.Option("--from", metavar="DIR", help="Folder of the sources' files.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Store; default: the data folder.")
    ] = None,
    scale: Annotated[
        str,
        typer.Option("--z-score", help="Frames that it is taken over: recording or train-half."),
    ] = "recording",
    licence: Annotated[
        str | None, typer.Option(help="Terms of the worms whose files state none.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Prepare worms from the sources' files; repeat an interrupted run to go on."""
    from zapeval.benchmarks.celegans.prepare import prepare as make
    from zapeval.benchmarks.celegans.recipes import worms_folder

    if not _has_worms(name):
        raise Refused(f"{name}: its recordings need no preparing; worms do, as in celegans")
    with _counted("preparing", "pieces", quiet) as show:
        report = make(
            source, out or worms_folder(), scale=_scale(scale), licence=licence, progress=show
        )
    if not quiet:
        _show_report(report)


def _scale(text: str) -> Scale:
    from zapeval.benchmarks.celegans.preprocessing import SCALES

    for scale in SCALES:
        if scale == text:
            return scale
    raise UsageError(f"--z-score {text!r}: expected one of {', '.join(SCALES)}")


def _show_report(report: Report) -> None:
    """Prints a line for each source, all that was left out, and the first of what was mended."""
    from zapeval.benchmarks.celegans.store import REPORT

    width = max(len("source"), *(len(line.source) for line in report.lines))
    say(f"{'source':<{width}}  worms  left out  labelled  fewest  most  recorded   seconds  frames")
    for line in report.lines:
        say(
            f"{line.source:<{width}}  {line.worms:>5}  {line.left_out:>8}  {line.labelled:>8.1f}  "
            f"{line.fewest:>6}  {line.most:>4}  {line.recorded:>8.1f}  {line.seconds:>8.0f}  "
            f"{line.frames:>6}"
        )
    for finding in (finding for finding in report.findings if finding.left_out):
        say(f"left out: {finding}")
    notes = [finding for finding in report.findings if not finding.left_out]
    for finding in notes[:_SHOWN]:
        say(f"note: {finding}")
    if len(notes) > _SHOWN:
        say(f"{len(notes) - _SHOWN:,} more notes: {report.folder}/{REPORT}")
    if report.taken_over:
        say(f"{report.taken_over:,} pieces were taken over from an interrupted run")
    labelled = f"neurons labelled in one at least: {report.names} of 302"
    say(f"{report.folder}: worms prepared: {len(report.worms):,}; {labelled}")
    say(f"digest {report.digest}")


def _has_worms(name: str) -> bool:
    from zapeval.benchmarks.catalogue import find_recipe
    from zapeval.benchmarks.celegans.recipes import WormRecipe

    return isinstance(find_recipe(name), WormRecipe)


def _fetch_export(source: str | None, quiet: bool) -> None:
    from zapeval.benchmarks.celegans.hub import HUB, export_folder, fetch_export

    with _counted("fetching", "bytes", quiet) as show:
        report = fetch_export(export_folder(), source=source or HUB, progress=show)
    if not quiet:
        size = amount(report.fetched_bytes, "bytes")
        say(
            f"{report.folder}: {report.files:,} files of revision {report.revision[:12]}, "
            f"{report.fetched:,} of them fetched now ({size})"
        )
        note(f"prepare them with `zapeval data prepare celegans --from {report.folder}`")


def _verify_worms(name: str, quiet: bool) -> None:
    """Verifies the prepared worms, and the downloaded export, as far as they are there."""
    from zapeval.benchmarks.celegans.hub import export_folder
    from zapeval.benchmarks.celegans.recipes import worms_folder
    from zapeval.benchmarks.celegans.store import open_worms, verify_worms
    from zapeval.recordings.mirror import verify as compare

    worms, export = worms_folder(), export_folder()
    if not worms.exists() and not export.exists():
        raise NotFound(
            f"{worms}: does not exist; prepare it with `zapeval data prepare {name} --from DIR`"
        )
    findings: list[str] = []
    if worms.exists():
        findings += verify_worms(open_worms(worms))
    if export.exists():
        with _counted("verifying", "files", quiet) as show:
            findings += compare(export, progress=show)
    if findings:
        raise InvalidInput("\n".join(findings), findings)
    if not quiet:
        for folder in (folder for folder in (worms, export) if folder.exists()):
            say(f"{folder}: every file is as it was made")


def _mirror(name: str) -> Mirror:
    from zapeval.benchmarks.catalogue import find_recipe

    mirror = find_recipe(name).mirror()
    if mirror is None:
        raise Refused(f"{name}: has no public recording; there is nothing to fetch or verify")
    return mirror


@contextmanager
def _counted(what: str, unit: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Gives a function that is told how much is done and their total, and shows progress."""
    seen = 0
    with ExitStack() as stack:
        advance: Callable[[int], None] | None = None

        def show(done: int, total: int) -> None:
            nonlocal advance, seen
            if advance is None:
                advance = stack.enter_context(progress(what, total, unit, quiet=quiet))
            advance(done - seen)
            seen = done
            if done == total:  # a terminal shows one bar at a time, and there may be another
                stack.close()

        yield show
