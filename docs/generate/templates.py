"""The names that pages may use between double braces."""

from __future__ import annotations

from jinja2 import Environment, StrictUndefined

from generate import commands, layers, records, reference


def render(text: str) -> str:
    """A page with its figures and tables filled in.

    Raises:
        jinja2.UndefinedError: if it names a figure that does not exist.
    """
    made = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    made.filters.update(fixed=records.fixed, percent=records.percent, share=records.share)
    made.globals.update(
        about=records.about,
        bonding_table=reference.bonding_table,
        cell=records.cell,
        code=reference.code,
        class_table=reference.class_table,
        component_table=reference.component_table,
        layer_picture=layers.picture,
        layer_table=layers.table,
        mean_error=records.mean_error,
        overview=records.overview,
        property_table=reference.property_table,
        query_table=commands.query_table,
        record=records.record,
        report=records.report,
        row_count=reference.row_count,
        structure_type_table=reference.structure_type_table,
    )
    return made.from_string(text).render()
