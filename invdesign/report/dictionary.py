"""Data dictionary: what every column of a table of candidates means, in which unit, and of which type.

One place for the meaning of a column: the data dictionary and the schema of a run folder, and the glossary and
the headings of its report, all read it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from invdesign.properties import SHIPPED, Property

INDEX = "index: "
"""How the column of a material index begins; its name follows."""

MEANINGS: Mapping[str, str] = {
    "bulk_modulus": "Resistance to uniform compression (Voigt-Reuss-Hill average of a polycrystal).",
    "shear_modulus": "Resistance to a change of shape at constant volume (Voigt-Reuss-Hill average).",
    "youngs_modulus": "Stiffness of a bar that is pulled, 9KG/(3K+G).",
    "poisson_ratio": "How much a bar that is pulled gets thinner, relative to how much it gets longer.",
    "pugh_ratio": "Bulk over shear modulus; above about 1.75 metals tend to be ductile.",
    "vickers_hardness": "Resistance to the indentation of a diamond pyramid, at the load that the query names.",
    "fracture_toughness": "Resistance to the growth of a crack; estimated from moduli and volume.",
    "density": "Mass per volume of the perfect crystal.",
    "band_gap": "Energy between the highest filled and the lowest empty electron state, as PBE gives it: "
    "too small by a third to a half.",
    "formation_energy": "Energy per atom against the pure elements; negative: the compound forms.",
    "energy_above_hull": "Energy per atom against the most stable mixture of known phases of its composition; "
    "0: on the convex hull, up to about 0.1: may be made, negative: below all known phases.",
    "strength": "Stress that a part bears before it yields or breaks, from hardness or toughness and a flaw.",
    "thermal_conductivity": "Heat that flows for a gradient of temperature; of insulators only (by the lattice).",
    "thermal_expansion": "Relative change of length for a kelvin.",
    "heat_capacity": "Heat that a kilogram takes up for a kelvin, at room temperature.",
    "melting_point": "Temperature at which the crystal melts, from its stiffness; good to about a factor of 1.6.",
    "max_service_temperature": "Highest temperature that the material bears in use.",
    "debye_temperature": "Temperature at which all lattice vibrations are excited; from moduli and density.",
    "thermal_shock_resistance": "Sudden change of temperature that a part survives, strength (1-ν)/(E α).",
    "thermal_shock_power": "The same times the thermal conductivity, for slower changes.",
    "price": "Price of the elements that a kilogram holds (2024); processing is not in it.",
    "embodied_energy": "Energy spent to make the elements that a kilogram holds.",
    "supply_risk": "Relative risk of the riskiest element's supply, from 1 (low) to 10 (high).",
    "hhi_production": "Concentration of the production of its elements on few countries (Herfindahl-Hirschman "
    "index); above 2,500: highly concentrated.",
    "hhi_reserve": "Concentration of the reserves of its elements on few countries, by the same index.",
    "scarcity": "Share of the scarcest of its elements in the earth's crust.",
}
"""A sentence on each property and quantity."""

_FIXED: Mapping[str, tuple[str, str, str]] = {
    "rank": ("integer", "", "place in the list; 1 is best"),
    "id": ("string", "", "name of the candidate within its run"),
    "file": ("string", "", "path of its CIF within the folder, or the file that it was read from"),
    "source": ("string", "", "where the crystal was read from"),
    "formula": ("string", "", "reduced formula"),
    "space_group": ("integer", "", "number of the space group in the International Tables (spglib, 0.1 Å)"),
    "space_group_before": ("integer", "", "the same before relaxation"),
    "n_sites": ("integer", "", "atoms in the primitive cell"),
    "n_sites_conventional": ("integer", "", "atoms in the conventional cell, which is the cell of the CIF"),
    "score": ("number", "", "desirability from 0 to 1: weighted geometric mean over all wishes"),
    "failure": ("string", "", "why the item could not be processed or listed; empty otherwise"),
    "meets_targets": ("boolean", "", "whether the mean of every targeted property is on target"),
    "target_probability": ("number", "", "probability that all targets hold, taken as independent"),
    "pareto": ("boolean", "", "on the Pareto front: nothing in the list is at least as good in every wish and "
               "better in one"),
    "rank_low": ("integer", "", "best rank that the errors of prediction allow (5 % quantile)"),
    "rank_high": ("integer", "", "worst rank that they allow (95 % quantile)"),
    "first_by_errors": ("number", "", "share of samples of the properties, errors drawn, in which it is among the "
                        "first five"),
    "first_by_weights": ("number", "", "share of samples of the weights of the wishes in which it is among the "
                         "first five"),
    "anion_class": ("string", "", "family by the most electronegative non-metal: boride, nitride, …; "
                    "intermetallic without one"),
    "structure_type": ("string", "", "space group and hash of the occupied positions, equal for like structures"),
    "metal_probability": ("number", "", "probability that the band gap is zero"),
    "training_distance": ("number", "", "how far the crystal lies from the training data: percentile of held-out "
                          "known crystals, above 1 farther than all of them"),
    "out_of_distribution": ("boolean", "", "whether the property models have seen nothing like it"),
    "ood_reason": ("string", "", "what they have not seen"),
    "energy_per_atom": ("number", "eV/atom", "energy of the relaxed crystal by the potential, on its own scale"),
    "max_force": ("number", "eV/Å", "largest force left after relaxation"),
    "relaxation_steps": ("integer", "", "energy evaluations spent on the relaxation"),
    "converged": ("boolean", "", "whether the relaxation met its force criterion"),
    "rms_displacement": ("number", "Å", "root-mean-square displacement of the atoms by the relaxation"),
    "volume_change": ("number", "", "relaxed over proposed volume, minus one"),
    "potential": ("string", "", "interatomic potential that relaxed it, with version"),
    "relaxation_note": ("string", "", "what was special about the relaxation"),
    "generator": ("string", "", "what proposed the crystal"),
    "request": ("string", "", "id of the request that it answers"),
    "parents": ("string", "", "candidates or known crystals that it was derived from"),
    "verdict": ("string", "", "how it compares with the best known material for the component"),
    "reason": ("string", "", "why it stands where it stands"),
    "decomposes_into": ("string", "", "known phases that it competes with, each with its share of the atoms"),
    "formula_known": ("boolean", "", "whether a known phase has this formula"),
    "nearest": ("string", "", "nearest known crystals as the property models see them: formula, Materials Project "
                "id, space group, computed values"),
    "nearest_distance": ("number", "", "distance to the first of them; 1 is usual for a new crystal, 0 the same"),
    "synthesizability": ("number", "", "probability that it can be made, 0 to 1, learnt from known crystals that "
                         "are listed as made, all others being unlabelled; empty without evidence"),
    "synthesizability_note": ("string", "", "what the score was read from, or why there is no evidence"),
    "map_x": ("number", "", "abscissa on the map of materials space"),
    "map_y": ("number", "", "ordinate on the map of materials space"),
    "universal_anisotropy": ("number", "", "elastic anisotropy 5 G_V/G_R + K_V/K_R - 6; 0 is isotropic"),
    "log_anisotropy": ("number", "", "elastic anisotropy on Kube's logarithmic scale; 0 is isotropic"),
    "lattice_parameters": ("array", "Å and degrees", "a, b, c, α, β, γ of the cell of the CIF"),
    "atomic_numbers": ("array", "", "atomic number of every atom in that cell"),
    "frac_coords": ("array", "", "fractional coordinates of these atoms, three for each, flat"),
}  # fmt: skip

_METHODS = {"desirability": "desirability", "topsis": "TOPSIS", "spotis": "SPOTIS over samples of the properties"}
_SUFFIXES: tuple[tuple[str, str, str], ...] = (
    ("_std", "number", "standard deviation of the {}"),
    ("_low", "number", "lower end of the 90 % interval of the {}"),
    ("_high", "number", "upper end of the 90 % interval of the {}"),
    ("_source", "string", "what gave the {}: a surrogate, a potential, a formula, or feedback"),
    ("_by_element", "string", "what each element adds to the {} against its usual substitutes"),
    ("_by_site", "string", "what each site adds to the {} against the usual substitutes of its element"),
    ("_by_feature", "string", "what kinds of features add to the {}"),
)


@dataclass(frozen=True)
class Column:
    """One column of a table of candidates.

    Attributes:
        name: as in the table.
        type: `number`, `integer`, `boolean`, `string` or `array`.
        unit: as printed; empty for a pure number or text.
        meaning: one phrase or sentence.
    """

    name: str
    type: str
    unit: str
    meaning: str


def described(name: str, properties: Mapping[str, Property] | None = None) -> Column:
    """What a column means.

    Args:
        name: of the column.
        properties: those that may stand in the table (None: all that are known).

    Returns:
        Its description; a column that nothing describes is a text without a meaning.
    """
    known = SHIPPED if properties is None else properties
    if name in _FIXED:
        return Column(name, *_FIXED[name])
    if name in known:
        return Column(name, "number", known[name].unit, MEANINGS.get(name, known[name].label))
    return _of_property(name, known) or _of_pattern(name) or Column(name, "string", "", "")


def _of_property(name: str, known: Mapping[str, Property]) -> Column | None:
    """A column that says more of a property or an index: its error, its source, …"""
    for suffix, kind, phrase in _SUFFIXES:
        stem = name.removesuffix(suffix)
        if stem != name and stem in known:
            unit = known[stem].unit if kind == "number" else ""
            return Column(name, kind, unit, phrase.format(known[stem].label))
        if stem != name and stem.startswith(INDEX):
            return Column(name, kind, "", phrase.format(f"material index {stem.removeprefix(INDEX)}"))
    return None


def _of_pattern(name: str) -> Column | None:
    """A column of an index, a verdict, a method of decision or an elastic constant."""
    if name.startswith(INDEX):
        words = "material index of the component, in the units of its quantities"
        return Column(name, "number", "", f"{words}: {name.removeprefix(INDEX)}")
    if match := re.fullmatch(r"verdict_(\w+?)(_reason)?", name):
        subject = match[1].replace("_", " ")
        if match[2]:
            return Column(name, "string", "", f"what the validator {subject} found")
        return Column(name, "string", "", f"verdict of the validator {subject}: pass, fail or unknown")
    if (method := name.removeprefix("rank_")) in _METHODS and method != name:
        return Column(name, "integer", "", f"rank by {_METHODS[method]}")
    if re.fullmatch(r"c[1-6][1-6]", name):
        return Column(name, "number", "GPa", f"elastic constant C{name[1:]} of the potential (Voigt notation)")
    return None
