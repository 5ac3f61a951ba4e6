"""Vibrations of crystals by a universal potential: phonons, what follows from them, unstable modes."""
