"""Universal interatomic potentials by name, and their energies on the reference's scale."""
