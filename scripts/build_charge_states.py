"""Learn how common the oxidation states of elements are: `charge_states.npz` with its data sheet.

    python scripts/build_charge_states.py [--out FOLDER]

Reads `known_crystals.parquet` of the folder. Deterministic; a minute of one core.
"""

from __future__ import annotations

import numpy as np

from invdesign.chemistry.charge_states import TABLE
from invdesign.chemistry.composition import integer_composition
from invdesign.progress import shown
from invdesign.reference.known import TABLE as KNOWN
from invdesign.reference.known import KnownCrystals
from invdesign.training.charge_states import Composition, is_judged, learn
from invdesign.training.rebuild import begin, built, options, run
from invdesign.training.sheet import Sheet

ABOUT = """\
How often an element has an oxidation state in compounds of an anion (`keys`: atomic numbers of the element and of
the anion, 0 for all anions, and the state; `log_share`: natural log of the share), and how often it is
mixed-valent (`log_mixed`, by atomic number). Read by `invdesign.chemistry.charge_states`.

Learnt from {n:,} compositions of crystals that are known from experiment, without those for the reference alone,
by expectation and maximisation: nobody says which charges a known compound has."""
MORE = """\
Limits: oxidation states are those of SMACT's list from the ICSD (2024). The anion is the most electronegative
element, so that a cyanide counts as a nitride. Metallic compounds are counted as if they were ionic."""


def main() -> None:
    given = begin(options(__doc__, data=False))
    known = KnownCrystals.load(given.out / KNOWN)
    compositions = [each for each in experimental(known) if is_judged(each)]
    with shown() as progress:
        states = learn(compositions, progress)
    path = given.out / TABLE
    np.savez_compressed(
        path, keys=states.keys, log_share=states.log_share.astype("f4"), log_mixed=states.log_mixed.astype("f4")
    )
    Sheet(
        about=ABOUT.format(n=len(compositions)),
        script="python scripts/build_charge_states.py",
        data=built(KNOWN),
        split="none here; benchmarks/validators.py judges chemical systems that were left out",
        seed="none: nothing is random",
        metrics="`benchmarks/results/validators.json`, `compositions`",
        commit=given.commit,
        licence="Materials Project (A. Jain et al., APL Mater. 1, 011002 (2013)), CC BY 4.0; SMACT, MIT.",
        more=MORE,
    ).write(path)
    print(f"{path}: {len(states.keys)} shares of {len(compositions)} compositions")


def experimental(known: KnownCrystals) -> list[Composition]:
    """Reduced compositions of the crystals that are known from experiment, each once."""
    owner, numbers, atoms = known.element_counts()
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    wanted = (known.experimental & ~known.held_out)[owner[starts]]
    parts = zip(np.split(numbers, starts[1:]), np.split(atoms, starts[1:]), wanted, strict=True)
    counted = (integer_composition(np.repeat(own, n)) for own, n, take in parts if take)
    return sorted({tuple(composition.items()) for composition in counted})


if __name__ == "__main__":
    run(main)
