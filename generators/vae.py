"""The conditional variational autoencoder as a generator."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Self

import numpy as np
import torch

from invdesign.crystal import Crystal, FloatArray
from invdesign.generators.conditions import CONDITION_PROPERTIES
from invdesign.generators.geneset import to_batch
from invdesign.generators.model import GeneVAE
from invdesign.generators.sampler import GeneSampler, SamplingConfig
from invdesign.represent.genes import canonical

WEIGHTS = "vae.safetensors"


class VAEGenerator(GeneSampler[GeneVAE]):
    """Samples the autoencoder's prior under conditions; how, see `GeneSampler`."""

    name = "vae"
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

    @classmethod
    def load(cls, path: Path | None = None, sampling: SamplingConfig | None = None) -> Self:
        """From a file that `save` wrote; without a path, the weights of the package (loaded once).

        Raises:
            ReferenceMissingError: if the file is missing or is no such file.
        """
        if path is not None:
            return cls.read(path, sampling)
        shipped = _shipped()
        return cls(shipped.model, shipped.scaling, shipped.element_volume, sampling, shipped.trained_on)


@cache
def _shipped() -> VAEGenerator:
    with resources.as_file(resources.files("invdesign.tables").joinpath(WEIGHTS)) as path:
        return VAEGenerator.read(path)
