"""Training and tuning of models on a user's own crystals: `invdesign train` and `invdesign tune`."""
