"""Why a surrogate predicts what it predicts: sites, elements, feature families, nearest known crystals."""
