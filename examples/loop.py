"""The loop, a round at a time: look at each round's best and stop when you like.

python examples/loop.py
"""

import invdesign as ivd


def main() -> None:
    """Run a small campaign and print what each round brought."""
    query = ivd.Query(targets=["bulk_modulus>=250", "shear_modulus>=150"], n=6, relaxations=12)
    with ivd.Campaign(query, seed=0) as campaign:
        for step in campaign:
            print(f"round {step.number + 1}: {dict(step.counts)}")
            for row in step.best[:3]:
                k, hull = row.estimate.values["bulk_modulus"], row.energy_above_hull
                print(f"  {row.candidate.id}: K {k.mean:.0f} ± {k.std:.0f} GPa, {hull.mean:.3f} eV/atom")


if __name__ == "__main__":
    main()
