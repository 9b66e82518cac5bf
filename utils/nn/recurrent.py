"""The two recurrent cells that remember: LSTM and GRU, gate by gate (lesson 1.2).

Parameters have the names, shapes and order of gates of `nn.LSTMCell` and `nn.GRUCell`, so that
weights go from one to the other with `load_state_dict`.

Shape key: B batch, I inputs, D units.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

SHARP = 4.0  # sensors of -1 to 1 go into a cell as -4 to 4: small changes must be told apart


class Gates(nn.Module):
    """The weights of `gates` blocks of D units, each of which sees the input and the memory."""

    def __init__(self, gates: int, inputs: int, units: int) -> None:
        nn.Module.__init__(self)
        self.units = units
        self.weight_ih = nn.Parameter(torch.empty(gates * units, inputs))
        self.weight_hh = nn.Parameter(torch.empty(gates * units, units))
        self.bias_ih = nn.Parameter(torch.empty(gates * units))
        self.bias_hh = nn.Parameter(torch.empty(gates * units))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(units**-0.5), units**-0.5)


class LSTM(Gates):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997; the forget gate is from 2000)."""

    def __init__(self, inputs: int, units: int) -> None:
        Gates.__init__(self, 4, inputs, units)

    def forward(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        return self.lstm_step(x, hidden, cell)

    def lstm_step(
        self,
        x: Float[Tensor, "B I"],
        hidden: Float[Tensor, "B D"],
        cell: Float[Tensor, "B D"],
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
        """One step in time: the new (hidden, cell).

            all = W_ih x + b_ih + W_hh hidden + b_hh            [B, 4D]: four blocks i, f, g, o
            cell'   = sigmoid(f) * cell + sigmoid(i) * tanh(g)
            hidden' = sigmoid(o) * tanh(cell')

        W_ih is `self.weight_ih` [4D, I], W_hh `self.weight_hh` [4D, D], b_ih `self.bias_ih` and
        b_hh `self.bias_hh` [4D]; the blocks stand in the order i (input), f (forget), g (what to
        write), o (output), as in `nn.LSTMCell`.
        """
        blocks = linear(x, self.weight_ih, self.bias_ih)
        blocks = blocks + linear(hidden, self.weight_hh, self.bias_hh)
        i, f, g, o = blocks.chunk(4, 1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        return o.sigmoid() * cell.tanh(), cell


class GRU(Gates):
    """Gated recurrent unit (Cho et al., 2014), in the form of cuDNN and PyTorch."""

    def __init__(self, inputs: int, units: int) -> None:
        Gates.__init__(self, 3, inputs, units)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        return self.gru_step(x, hidden)

    def gru_step(
        self, x: Float[Tensor, "B I"], hidden: Float[Tensor, "B D"]
    ) -> Float[Tensor, "B D"]:
        """One step in time: the new hidden.

            seen = W_ih x + b_ih,  kept = W_hh hidden + b_hh    [B, 3D]: three blocks r, z, n each
            r = sigmoid(seen_r + kept_r)                        reset
            z = sigmoid(seen_z + kept_z)                        update: 1 keeps the old
            n = tanh(seen_n + r * kept_n)                       what to write
            hidden' = (1 - z) * n + z * hidden

        The weights are `self.weight_ih` [3D, I], `self.weight_hh` [3D, D], `self.bias_ih` and
        `self.bias_hh` [3D], blocks in the order r, z, n, as in `nn.GRUCell`.
        """
        seen_r, seen_z, seen_n = linear(x, self.weight_ih, self.bias_ih).chunk(3, 1)
        kept_r, kept_z, kept_n = linear(hidden, self.weight_hh, self.bias_hh).chunk(3, 1)
        r = (seen_r + kept_r).sigmoid()
        z = (seen_z + kept_z).sigmoid()
        n = (seen_n + r * kept_n).tanh()
        return (1 - z) * n + z * hidden
