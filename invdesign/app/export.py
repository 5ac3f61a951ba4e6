"""Export of a run's candidates to the formats of other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from invdesign.errors import InputError


def export_run(folder: str | Path, formats: Sequence[str], out: str | Path | None = None) -> list[Path]:
    """Write the candidates of a run folder in one or several formats.

    Args:
        folder: the run folder.
        formats: keys of `invdesign.report.formats.FORMATS`.
        out: where to write, for one format; None: into the run folder.

    Returns:
        What was written.

    Raises:
        InputError: if a format is not known, `out` is given for several, or the folder holds no run.
        OutputError: if a file cannot be written.
    """
    from invdesign.report import formats as known

    if out is not None and len(formats) != 1:
        raise InputError("out", str(out), "one format at a time")
    return [known.export_run(Path(folder), form, None if out is None else Path(out)) for form in formats]
