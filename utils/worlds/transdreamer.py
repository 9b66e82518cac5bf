"""TransDreamer: the recurrence of DreamerV2 replaced by a transformer (Chen, Wu, Yoon, Ahn,
"TransDreamer: Reinforcement Learning with Transformer World Models", 2022, arXiv 2202.09481).

The transformer state-space model, TSSM, keeps the two parts of an RSSM's state and computes them
otherwise:

    z_t ~ q(z | x_t)                                   posterior: sees the observation and no past
    h_t = Transformer((z_0, a_1), ..., (z_{t-1}, a_t)) one token for each step so far
    z_t ~ p(z | h_t)                                   prior

Nothing in a posterior waits for the step before, so all of a sequence is computed at once. The
code followed is changchencc/TransDreamer at `393007a`. What differs here:

| official | here | why |
|---|---|---|
| an episode's first state has no h | h of a token of zeros | every row has a state |
| heads of 64 features, 1024 units between, ReLU | width / heads, 4 width, GELU | as IRIS |
| dropout 0.1 | none | little data |
| losses are summed over a sequence and divided by 15 | means | the same but for a factor |
| windows lie inside an episode | anywhere, attention stops at the border | ends are learned |
| continuation is learned without discount | with, as in DreamerV2 | shared |

Shape key: B batch, T time, N tokens in memory, A actions, D width, L layers, S categorical
variables, K classes, Z = S K logits, E features of an embedded observation, I = Z + A.
"""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium as gym
import torch
from gymnasium.spaces import MultiBinary
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from utils.nn.codec import is_image
from utils.nn.context import age, attendable, begins, history
from utils.nn.dense import dense, glorot
from utils.nn.sinusoids import sinusoids
from utils.nn.transformer import Block
from utils.world import Spec, State, where
from utils.worlds.dreamer_v2 import Bits, Categoricals, DreamerV2
from utils.worlds.planet import Pictures, Vectors


@dataclass(frozen=True)
class Config:
    """The official defaults for Atari; names as in `dreamer_v2.Config` where they mean the same."""

    width: int = 600  # D, of the transformer ("d_model")
    blocks: int = 6  # L, its layers
    heads: int = 8
    context: int = 50  # N, steps that are remembered
    hidden: int = 600  # units between h and the prior's logits, and before the posterior's
    stoch: int = 32  # S
    classes: int = 32  # K
    units: int = 400  # of the heads, and of encoder and decoder of vectors
    layers: int = 4  # hidden ones of these
    depth: int = 48  # channels of the first convolution
    noise: float = 0.3  # standard deviation of a vector's likelihood
    kl_scale: float = 0.1
    balance: float = 0.8
    free_nats: float = 0.0
    discount: float = 0.999
    discount_scale: float = 5.0


SMALL = Config(  # a laptop's, for observations of a few numbers
    **{"width": 32, "blocks": 2, "heads": 4, "context": 72, "hidden": 64, "stoch": 8},
    **{"classes": 8, "units": 64, "layers": 2, "kl_scale": 1.0, "discount": 0.99},
)


class TSSM(nn.Module):
    """The transformer state-space model; it takes the place of an `RSSM` (same methods).

    State: `deter` h_t [B, L D], the outputs of all layers for the newest token; `stoch` z_t
    [B, S, K]; `tokens` [B, N, I], what the transformer has read, the newest last; `length` [B],
    how many of these there are. Nothing else is kept: each step reads its tokens again.
    """

    def __init__(self, actions: int, embed: int, config: Config, latent: Categoricals) -> None:
        super().__init__()
        self.latent, self.context = latent, config.context
        logits, width = config.stoch * config.classes, config.width
        self.enter = nn.Linear(logits + actions, width)
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.blocks))
        self.size = config.blocks * width  # of deter
        self.prior = dense(self.size, config.hidden, 1, logits)
        self.posterior = dense(embed, config.hidden, 1, logits)

    def initial(self, batch: int) -> State:
        """Zeros, and no token."""
        zero = self.enter.weight.new_zeros(())
        return {
            "deter": zero.expand(batch, self.size),
            "stoch": zero.expand(batch, *self.latent.shape),
            "tokens": zero.expand(batch, self.context, self.enter.in_features),
            "length": zero.long().expand(batch),
        }

    def remember(
        self,
        tokens: Float[Tensor, "B M I"],
        position: Int[Tensor, "B M"],
        mask: Bool[Tensor, "B M M"],
    ) -> Float[Tensor, "B M F"]:
        """The transformer: F = L D features for each of M tokens, the outputs of all L layers.

        A token enters as `elu(self.enter(token))` plus `sinusoids(position, D)`. Then
        `block(x, mask)` of each in `self.blocks`, in order, gives the next x (and keys and values,
        of no use here); its mask has an axis of length 1 for the heads, [B, 1, M, M]. What is
        returned are the x after every block, side by side, the first block's first.
        """
        x = F.elu(self.enter(tokens))
        x = x + sinusoids(position, x.shape[-1])
        outputs = []
        for block in self.blocks:
            x, _ = block(x, mask[:, None])
            outputs.append(x)
        return torch.cat(outputs, -1)

    def filter(
        self,
        embed: Float[Tensor, "B T E"],
        action: Float[Tensor, "B T A"],
        first: Bool[Tensor, "B T"],
        noise: Float[Tensor, "B T S"] | None,
    ) -> tuple[State, Float[Tensor, "B T Z"]]:
        """The states of whole sequences and the logits of their posteriors, without any loop.

        `self.posterior(embed)` are the logits of all z at once, `self.latent.sample(logits, noise)`
        draws them. The token of row t is [z_{t-1}, a_t]: what was there before, and the action that
        led here; z is all zeros in the window's row 0 (nothing is known of before), and the whole
        token where `first`. `self.remember(tokens, age(first), attendable(first))` is `deter`.
        Returns a dict with `deter`, `stoch` and what `self.kept(tokens, age(first))` gives (what a
        later step needs), and the logits.
        """
        logits = self.posterior(embed)
        stoch = self.latent.sample(logits, noise)
        before = F.pad(stoch.flatten(2), (0, 0, 1, 0))[:, :-1]
        tokens = torch.cat([before, action], -1).masked_fill(first[..., None], 0.0)
        deter = self.remember(tokens, age(first), attendable(first))
        return {"deter": deter, "stoch": stoch} | self.kept(tokens, age(first)), logits

    def kept(self, tokens: Float[Tensor, "B T I"], position: Int[Tensor, "B T"]) -> State:
        """What each row of a sequence keeps of it: `tokens` [B, T, N, I] and `length` [B, T]."""
        if tokens.shape[1] > self.context:
            raise ValueError(
                f"A sequence of {tokens.shape[1]} rows does not fit into a context of "
                f"{self.context}: take shorter windows or a longer context."
            )
        return {"tokens": history(tokens, position, self.context), "length": position + 1}

    def observe(
        self,
        state: State,
        embed: Float[Tensor, "B E"],
        action: Float[Tensor, "B A"],
        first: Bool[Tensor, " B"],
        noise: Float[Tensor, "B S"] | None,
    ) -> tuple[State, Float[Tensor, "B Z"]]:
        """One step of filtering: the posterior state and its logits. Where `first`, tokens, state
        and action are forgotten."""
        state = where(first, self.initial(len(first)), state)
        state = self.advance(state, action.masked_fill(first[:, None], 0.0))
        logits = self.posterior(embed)
        return state | {"stoch": self.latent.sample(logits, noise)}, logits

    def imagine(
        self, state: State, action: Float[Tensor, "B A"], noise: Float[Tensor, "B S"] | None
    ) -> State:
        """One step of dream: the prior takes the posterior's place."""
        state = self.advance(state, action)
        return state | {"stoch": self.latent.sample(self.prior(state["deter"]), noise)}

    def advance(self, state: State, action: Float[Tensor, "B A"]) -> State:
        """The state with one token more, [z, action], and the new `deter`; z stays as it was. The
        oldest token is forgotten when the context is full."""
        token = torch.cat([state["stoch"].flatten(1), action], -1)
        tokens = torch.cat([state["tokens"][:, 1:], token[:, None]], 1)
        length = (state["length"] + 1).clamp(max=self.context)
        first = begins(length, self.context)
        deter = self.remember(tokens, age(first), attendable(first))
        return {**state, "deter": deter[:, -1], "tokens": tokens, "length": length}


class TransDreamer(DreamerV2):
    """The world model: DreamerV2's codec, heads and loss around a `TSSM`.

    Args:
        tssm: class of the state-space model, for whoever changes it.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: Config,
        *,
        tssm: type[TSSM] = TSSM,
    ) -> None:
        nn.Module.__init__(self)
        self.config, self.spec = config, Spec(observation_space, action_space)
        stoch = config.stoch * config.classes
        self.size = config.blocks * config.width + stoch  # of a state's features
        cells = Bits if isinstance(observation_space, MultiBinary) else Vectors
        codec = Pictures if is_image(observation_space) else cells
        self.codec = codec(observation_space, self.size, config)
        latent = Categoricals(config.stoch, config.classes)
        self.rssm = tssm(self.spec.action_size, self.codec.size, config, latent)
        self.reward = dense(self.size, config.units, config.layers, 1)
        self.cont = dense(self.size, config.units, config.layers, 1)
        glorot(self)
