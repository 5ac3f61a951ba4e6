"""What the surrogates read of a crystal: features, graphs, and the answers of interatomic potentials."""
