"""Can it be made, and how: precursors, conditions and driving force from published recipes, and a score."""
