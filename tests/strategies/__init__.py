"""Hypothesis strategies for what the package works on: genes, crystals and their equal forms, targets, queries."""

from strategies.crystals import crystals, equal_forms, unimodular
from strategies.genes import genes
from strategies.queries import queries, targets

__all__ = ["crystals", "equal_forms", "genes", "queries", "targets", "unimodular"]
