"""The campaign: rounds of proposing, screening, relaxing and judging, recorded in a ledger."""
