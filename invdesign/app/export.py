"""Export of a run's candidates to the formats of other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from invdesign.errors import InputError, OutputError


def export_run(
    folder: str | Path, formats: Sequence[str], out: str | Path | None = None, overwrite: bool = False
) -> list[Path]:
    """Write the candidates of a run folder in one or several formats.

    Args:
        folder: the run folder.
        formats: keys of `invdesign.report.formats.FORMATS`.
        out: where to write, for one format; None: into the run folder, under the names of `FORMATS`.
        overwrite: whether what is there already is written again.

    Returns:
        What was written.

    Raises:
        InputError: if a format is not known, `out` is given for several, or the folder holds no run.
        OutputError: if a file is there already and not to be overwritten, or cannot be written.
    """
    from invdesign.report import formats as known

    for form in formats:
        if form not in known.FORMATS:
            raise InputError("format", form, sorted(known.FORMATS))
    if out is not None and len(formats) != 1:
        raise InputError("out", str(out), "one format at a time")
    targets = [Path(folder) / known.FORMATS[form].name if out is None else Path(out) for form in formats]
    for path in targets:
        _check_free(path, overwrite)
    return [known.export_run(Path(folder), form, path) for form, path in zip(formats, targets, strict=True)]


def _check_free(path: Path, overwrite: bool) -> None:
    taken = any(path.iterdir()) if path.is_dir() else path.exists()
    if taken and not overwrite:
        raise OutputError(f"output {path} exists; give another name, or overwrite it: --force (overwrite=True)")
