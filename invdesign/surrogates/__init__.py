"""Property predictors that know their own uncertainty."""
