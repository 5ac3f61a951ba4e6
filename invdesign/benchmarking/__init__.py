"""`invdesign benchmark`: generators, targets and surrogates measured by one protocol each."""
