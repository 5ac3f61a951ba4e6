"""Train the hardness at a load on measured hardnesses: `hardness.safetensors` with its data sheet.

    python scripts/train_hardness.py --data DIR [--out FOLDER] [--seeds 2]

DIR holds `vickers_hardness.csv` and `crystals.parquet`; moduli are those of the gate in the folder. The figures
of the data sheet are of chemical systems left out in five folds; `benchmarks/hardness.py` measures the same model
beside the formulas. About five minutes of one core.
"""

from __future__ import annotations

from invdesign.surrogates import weights_of
from invdesign.surrogates.hardness import TABLE
from invdesign.training.hardness import judged, markdown, measured, trained
from invdesign.training.rebuild import begin, built, options, run, sources
from invdesign.training.sheet import Sheet

ABOUT = """\
Vickers hardness at a load: a Gaussian process over atomic fractions, statistics of the elements, bulk and shear
modulus, the formula of Mazhnik and Oganov with the factor of the bonding class, and the load, of the logarithm of
measured over formula hardness. Read by `invdesign.surrogates.hardness`.

Trained on {rows} hardnesses of {formulas} compositions: measured ones at their loads, elemental solids as in
pymatgen's table and four ionic crystals from handbooks (load taken as 9.81 N). Moduli: the gate's for compositions
of which the Materials Project has a crystal, otherwise of a process over compositions."""
MORE = """\
Mean absolute error, log10 / GPa, of rows whose chemical system was left out; *crystal*: a crystal of that formula
is known, *no crystal*: solid solutions and others, *handbook*: elements and ionic crystals.

{table}

Limits: seven in ten measurements are of borides or solid solutions of them; the gate was trained on some of the
crystals whose moduli it gives here. The sample may be another polymorph, textured, porous or off stoichiometry."""


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--seeds", type=int, default=2, help="random foldings of the figures")
    given = begin(parser)
    data = sources(given, "vickers_hardness.csv", "crystals.parquet")
    table = measured(given.data)
    figures, left_out = judged(table, given.seeds)
    out = given.out / TABLE
    trained(table, left_out, figures).save(out)
    errors = [f"{group} {found['error log10']['this model']:.3f}" for group, found in figures["groups"].items()]
    Sheet(
        about=ABOUT.format(**figures),
        script="python scripts/train_hardness.py --data DIR",
        data=data | built(weights_of("gate")),
        split="figures and intervals: chemical systems left out in five folds; the model itself: all rows",
        seed=f"0 to {given.seeds - 1}, of the foldings; 0 of the training",
        metrics=f"mean absolute error on unseen chemical systems, log10: {', '.join(errors)}",
        commit=given.commit,
        licence="Z. Zhang et al., Adv. Mater. 33, 2005112 (2021), MIT licence; A. Jain et al., APL Mater. 1, "
        "011002 (2013), CC BY 4.0.",
        more=MORE.format(table=markdown(figures)),
    ).write(out)
    print(markdown(figures))
    print(f"{out}: {len(table):,} hardnesses")


if __name__ == "__main__":
    run(main)
