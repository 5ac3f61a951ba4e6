"""From judged crystals to a ranked, diverse list for a component, with reasons."""
