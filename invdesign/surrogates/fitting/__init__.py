"""Training, calibration data and assessment of the shipped surrogates."""
