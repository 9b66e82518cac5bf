"""pUCT for a young network (EfficientZero, appendix): Q is not stretched further than it is sure.

Before the first reward all Q are alike but for the noise of a network that knows nothing. Stretched
to [0, 1] that noise looks like knowledge, and a search that believes it teaches it to the policy.

Shape key: B trees, N nodes, A actions.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from utils.agents.mcts import Tree, exploration

FLOOR = 0.01  # the smallest range that is stretched to [0, 1]; `value_delta_max` in the code


def normalise_softly(
    q: Float[Tensor, "B N A"], visits: Float[Tensor, "B N A"], floor: float = FLOOR
) -> Float[Tensor, "B N A"]:
    """Q less its smallest in the tree, divided by its range or by `floor`, whichever is larger.

    The range is that of all tried edges of a tree. An edge that was never tried gets 0.
    """
    tried = visits > 0
    low = torch.where(tried, q, torch.inf).amin((-2, -1), keepdim=True)
    high = torch.where(tried, q, -torch.inf).amax((-2, -1), keepdim=True)
    return torch.where(tried, (q - low) / (high - low).clamp(min=floor), 0.0)


def soft_puct(tree: Tree) -> Float[Tensor, "B N A"]:
    """Softly normalised Q plus exploration, for every edge."""
    return normalise_softly(tree.q, tree.visits) + exploration(
        tree.prior, tree.visits, tree.node_visits
    )
