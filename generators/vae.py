"""The conditional variational autoencoder as a generator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from invdesign.crystal import Crystal, FloatArray
from invdesign.crystallography.genes import canonical
from invdesign.generators.conditions import CONDITION_PROPERTIES
from invdesign.generators.geneset import to_batch
from invdesign.generators.model import GeneVAE
from invdesign.generators.sampler import GeneSampler


class VAEGenerator(GeneSampler[GeneVAE]):
    """Samples the autoencoder's prior under conditions; how, see `GeneSampler`."""

    name = "vae"
    weights = "vae.safetensors"
    model_class = GeneVAE

    @property
    def latent_dimensions(self) -> int:
        """Dimensions of the latent space, for searchers that choose a region of it."""
        return self.model.config.latent

    @torch.no_grad()
    def latent(self, crystals: Sequence[Crystal]) -> FloatArray:
        """(n_crystals, latent_dimensions) latent means of crystals; rows of NaN for those without a gene."""
        out = np.full((len(crystals), self.latent_dimensions), np.nan)
        genes = {i: canonical(c.gene) for i, c in enumerate(crystals) if c.gene is not None}
        if genes:
            unknown = np.full((len(genes), len(CONDITION_PROPERTIES)), np.nan)
            batch = to_batch(list(genes.values()), unknown, self.element_volume)
            out[list(genes)] = self.model.eval().encoder(batch)[0].double().numpy()
        return out
