"""Inputs of electronic structure programs for the open questions of a run."""
