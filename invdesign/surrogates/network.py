"""The network of both surrogates: messages between orbits, pooled, beside a perceptron on crystal features.

One node stands for one orbit (element, site symmetry, multiplicity); messages come from the nearest neighbours of
one of its atoms with the gated sum of CGCNN (Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018)). The pooled
nodes and the crystal's features give, for each property, a mean and a scale in standardised units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from invdesign.chemistry.element_features import element_features
from invdesign.crystallography.wyckoff import wyckoff_table
from invdesign.surrogates.inputs.features import LAST_ELEMENT

RADIAL_CENTRES, SCALED_CENTRES = 18, 8
NODE_SCALARS = 4


@dataclass(frozen=True)
class Shape:
    """Sizes of a network.

    Attributes:
        features: crystal features.
        extra: further features of the crystal (a potential's), 0 if none.
        width: channels of a node.
        layers: rounds of messages.
        hidden: width of the perceptrons.
        properties: number of properties.
    """

    features: int
    extra: int = 0
    width: int = 64
    layers: int = 3
    hidden: int = 256
    properties: int = 5


@dataclass(frozen=True, eq=False)
class Inputs:
    """Tensors of one batch: `n` crystals, `m` orbits, `k` neighbours.

    Attributes:
        number: (m,) atomic numbers.
        site: (m,) index of the oriented site symmetry.
        scalars: (m, 4) see `node_scalars`.
        weight: (m,) share in the atoms of the crystal.
        owner: (m,) crystal, ascending.
        neighbour: (m, k) orbits.
        distance: (m, k) Å, infinite where there is none.
        reach: (m,) Å.
        features: (n, n_features) standardised.
        extra: (n, n_extra) standardised, possibly with no columns.
    """

    number: Tensor
    site: Tensor
    scalars: Tensor
    weight: Tensor
    owner: Tensor
    neighbour: Tensor
    distance: Tensor
    reach: Tensor
    features: Tensor
    extra: Tensor


def node_scalars(
    position: NDArray[np.int64], count: NDArray[np.int64], weight: NDArray[np.float64]
) -> NDArray[np.float32]:
    """(m, 4) freedom, log count, log order of the site's group and share of each orbit."""
    table = wyckoff_table()
    group = np.searchsorted(table.group_start, position, side="right") - 1
    general = table.primitive_multiplicity[table.group_start[group + 1] - 1]
    columns = [table.freedom[position] / 3.0, np.log2(count) / 3.0, np.log2(general / count) / 3.0, weight]
    return np.stack(columns, axis=1).astype(np.float32)


def edge_features(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """(m, k, 26) radial functions of distance and scaled distance, and (m, k, 1) fading to zero at `reach`."""
    scaled = (inputs.distance / inputs.reach[:, None]).clamp(max=1.0)
    distance = torch.minimum(inputs.distance, inputs.reach[:, None])
    absolute = torch.linspace(1.0, 6.1, RADIAL_CENTRES, device=distance.device)
    relative = torch.linspace(0.3, 1.0, SCALED_CENTRES, device=distance.device)
    radial = torch.exp(-(((distance[..., None] - absolute) / 0.3) ** 2))
    shell = torch.exp(-(((scaled[..., None] - relative) / 0.1) ** 2))
    fade = 0.5 * (torch.cos(torch.pi * scaled**2) + 1.0)
    return torch.cat([radial, shell], dim=-1), fade[..., None]


class Interaction(nn.Module):
    """One round of gated messages."""

    def __init__(self, width: int, edge: int) -> None:
        super().__init__()
        self.here = nn.Linear(width, 2 * width)
        self.there = nn.Linear(width, 2 * width, bias=False)
        self.edge = nn.Linear(edge, 2 * width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)

    def forward(self, nodes: Tensor, edges: Tensor, fade: Tensor, inputs: Inputs) -> Tensor:
        """(m, width) nodes after one round; `edges` (m, k, edge), `fade` (m, k, 1)."""
        m, k = inputs.neighbour.shape
        there = self.there(nodes).index_select(0, inputs.neighbour.reshape(-1)).view(m, k, -1)
        gate, value = (self.here(nodes)[:, None, :] + there + self.edge(edges)).chunk(2, dim=-1)
        message = (torch.sigmoid(gate) * nn.functional.silu(value) * fade).sum(dim=1)
        updated: Tensor = nodes + self.out(nn.functional.silu(self.norm(message)))
        return updated


class Network(nn.Module):
    """See the module's text."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, hidden = shape.width, shape.hidden
        table = element_features().values
        scale = np.where(table[1:].std(axis=0) > 0, table[1:].std(axis=0), 1.0)
        self.elements: Tensor
        self.register_buffer(
            "elements",
            torch.tensor((table - table[1:].mean(axis=0)) / scale, dtype=torch.float32),
        )
        self.element = nn.Embedding(LAST_ELEMENT + 1, width)
        nn.init.normal_(self.element.weight, std=0.1)
        self.described = nn.Linear(table.shape[1], width)
        self.site = nn.Embedding(len(wyckoff_table().site_symmetry_names), width)
        nn.init.normal_(self.site.weight, std=0.1)
        self.scalars = nn.Linear(NODE_SCALARS, width)
        edge = RADIAL_CENTRES + SCALED_CENTRES
        self.rounds = nn.ModuleList([Interaction(width, edge) for _ in range(shape.layers)])
        self.attention = nn.Linear(width, 1)
        self.features = nn.Sequential(
            nn.Linear(shape.features + shape.extra, hidden),
            nn.SiLU(),
            nn.Dropout(0.1),
            nn.Linear(hidden, hidden // 2),
        )
        self.readout = nn.Sequential(
            nn.Linear(3 * width + hidden // 2, hidden),
            nn.SiLU(),
            nn.Dropout(0.1),
            nn.Linear(hidden, hidden // 2),
            nn.SiLU(),
        )
        self.head = nn.Linear(hidden // 2, 2 * shape.properties)

    def embed(self, inputs: Inputs, edge: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(n, hidden / 2) what the last layer reads; distances to training data are taken there too."""
        return self.join(self.surroundings(inputs, edge), torch.cat([inputs.features, inputs.extra], dim=1))

    def surroundings(self, inputs: Inputs, edge: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(n, 3 width) what the messages between orbits make of each crystal."""
        nodes = self.element(inputs.number) + self.described(self.elements[inputs.number])
        nodes = nodes + self.site(inputs.site) + self.scalars(inputs.scalars)
        edges, fade = edge or edge_features(inputs)
        for interaction in self.rounds:
            nodes = interaction(nodes, edges, fade, inputs)
        return self.pooled(nodes, inputs)

    def join(self, surroundings: Tensor, features: Tensor) -> Tensor:
        """(n, hidden / 2) from (n, 3 width) surroundings and (n, features + extra) standardised features."""
        embedded: Tensor = self.readout(torch.cat([surroundings, self.features(features)], dim=1))
        return embedded

    def forward(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """(n, properties) means and logarithms of the scale, standardised."""
        return self.answer(self.embed(inputs))

    def answer(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of the scale from what `embed` gives."""
        out: Tensor = self.head(embedded)
        mean, log_scale = out.chunk(2, dim=1)
        return mean, log_scale.clamp(-6.0, 3.0)

    def pooled(self, nodes: Tensor, inputs: Inputs) -> Tensor:
        """(n, 3 width) mean by atoms, attention-weighted mean and spread of the nodes of each crystal."""
        n = len(inputs.features)
        mean = nodes.new_zeros(n, nodes.shape[1]).index_add_(0, inputs.owner, inputs.weight[:, None] * nodes)
        apart = nodes - mean[inputs.owner]
        spread = nodes.new_zeros(n, nodes.shape[1]).index_add_(0, inputs.owner, inputs.weight[:, None] * apart**2)
        score = torch.exp(self.attention(nodes).clamp(-10, 10)) * inputs.weight[:, None]
        total = nodes.new_zeros(n, 1).index_add_(0, inputs.owner, score)
        attended = nodes.new_zeros(n, nodes.shape[1]).index_add_(0, inputs.owner, score * nodes)
        return torch.cat([mean, attended / total, torch.sqrt(spread + 1e-6)], dim=1)
