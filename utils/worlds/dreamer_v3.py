"""DreamerV3: one configuration for every task (Hafner, Pasukonis, Ba, Lillicrap, "Mastering diverse
control tasks through world models", Nature 2025). Actor and critic: `utils/agents/actor_critic.py`.

The code followed is danijar/dreamerv3 at `e3f0224`, habits included that the paper does not tell:

- Continuation learns gamma (1 - terminated), not 1 - terminated: the discount is in its target.
- A start's own discount weighs all of its dream, so nothing is learned from terminal starts.
- The policy over discrete actions has no uniform mixture, though its options ask for one.
- Returns bootstrap from the fast critic; the slow one is only a second target.
- The range of returns starts at 0 and is not corrected for that.
- The critic's returns on replay bootstrap after every step from dreamed returns, and its gradient
  there reaches the world model.
- A block of weights starts as if each of its units saw all inputs, not only those of the block.
- Gradients are clipped by the norm of whole tensors; the first step of the optimiser has rate 0.
- The policy samples, also when it is judged.

What differs here:

| official head | here | why |
|---|---|---|
| 5x5 convolutions at full resolution, max-pooled | 4x4 with stride 2, as in 2023 | time |
| first row of a training sequence counts as an episode's first | as any other row | so do tests |
| sequences start from latents stored in replay | from zeros, as in 2023 | a simpler replay |
| each new sequence is trained on once, then uniform replay | uniform replay | the same |
| bfloat16 | float32 | CPUs |
| binary observations as two classes | as one logit | half the outputs |
| any number of observations and actions by name | one of each | lessons need no more |

Shape key: B batch, T time, A actions, F features of a state, D deterministic features, U hidden
units, L logits of all latents, G blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium as gym
import torch
from gymnasium.spaces import Discrete, MultiBinary
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from utils.nn.codec import Bits, Images, Vectors, is_image
from utils.nn.mlp import Activate, BlockLinear, Linear, mlp
from utils.nn.two_hot import TwoHot
from utils.world import Dreamt, Spec, State, Step
from utils.worlds.rssm import RSSM, Categoricals, LatentWorld


@dataclass(frozen=True)
class Config:
    """The official names and defaults (200 million parameters)."""

    deter: int = 8192  # D, memory of the deterministic path
    hidden: int = 1024  # units inside the recurrence
    stoch: int = 32  # categorical variables
    classes: int = 64  # of each of them
    blocks: int = 8  # of the block-diagonal GRU
    units: int = 1024  # of encoder, decoder and heads
    depth: int = 64  # channels of the convolutions, times `mults`
    mults: tuple[int, ...] = (2, 3, 4, 4)
    bins: int = 255
    unimix: float = 0.01
    free_nats: float = 1.0
    dyn: float = 1.0  # scale of the dynamics loss
    rep: float = 0.1  # scale of the representation loss
    horizon: int = 333  # the discount is 1 - 1 / horizon


SIZE_1M = Config(deter=512, hidden=64, classes=4, units=64, depth=4)
SIZE_12M = Config(deter=2048, hidden=256, classes=16, units=256, depth=16)


class BlockGRU(nn.Module):
    """Block-diagonal recurrence with a layer of its own for each input.

        x = [act(W_h h), act(W_z z), act(W_a a)]
        reset, candidate, update = blocks(act(blocks([h, x])))
        h' = (1 - u) h + u tanh(sigmoid(reset) candidate),   u = sigmoid(update - 1)

    `act` is RMS norm and SiLU. A block sees its own slice of h and all of x, so what goes into it
    is a block-diagonal map of h plus a dense map of x.
    """

    def __init__(self, deter: int, stoch: int, actions: int, hidden: int, blocks: int) -> None:
        super().__init__()
        self.size = deter
        self.from_deter = mlp(deter, hidden, 1)
        self.from_stoch = mlp(stoch, hidden, 1)
        self.from_action = mlp(actions, hidden, 1)
        fan_in = deter + 3 * hidden * blocks
        self.from_block = BlockLinear(deter, deter, blocks, fan_in)
        self.from_state = Linear(2 * hidden, deter, bias=False, fan_in=fan_in)
        self.from_inputs = Linear(hidden, deter, bias=False, fan_in=fan_in)
        self.activate = Activate(deter)
        self.gates = BlockLinear(deter, 3 * deter, blocks)

    def inputs(self, action: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch D"]:
        """The action's share, which needs no state. Actions beyond 1 are scaled back to it."""
        action = action / action.abs().clamp(min=1).detach()
        return self.from_inputs(self.from_action(action))

    def forward(
        self,
        deter: Float[Tensor, "B D"],
        stoch: Float[Tensor, "B S K"],
        inputs: Float[Tensor, "B D"],
    ) -> Float[Tensor, "B D"]:
        x = torch.cat([self.from_deter(deter), self.from_stoch(stoch.flatten(1))], -1)
        x = self.activate(self.from_block(deter) + self.from_state(x) + inputs)
        gates = self.gates.grouped(x).unflatten(-1, (3, -1))  # [G, B, 3, D / G]
        reset, candidate, update = gates.permute(2, 1, 0, 3).flatten(2)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        return torch.lerp(deter, candidate, torch.sigmoid(update - 1))


class Posterior(nn.Module):
    """Logits from deterministic state and observation: one hidden layer that sees both."""

    def __init__(self, deter: int, embed: int, hidden: int, logits: int) -> None:
        super().__init__()
        self.from_deter = Linear(deter, hidden, fan_in=deter + embed)
        self.from_embed = Linear(embed, hidden, bias=False, fan_in=deter + embed)
        self.activate, self.logits = Activate(hidden), Linear(hidden, logits)

    def inputs(self, embed: Float[Tensor, "*batch E"]) -> Float[Tensor, "*batch U"]:
        """The observation's share, which needs no state."""
        return self.from_embed(embed)

    def forward(
        self, deter: Float[Tensor, "B D"], inputs: Float[Tensor, "B U"]
    ) -> Float[Tensor, "B L"]:
        return self.logits(self.activate(self.from_deter(deter) + inputs))


class DreamerV3(LatentWorld):
    """The world model. State: `deter` [B, D] and `stoch` [B, S, K], one-hot.

    Args:
        rssm, latent, two_hot, vectors: classes to build it from, for whoever changes one of them.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: Config,
        *,
        rssm: type[RSSM] = RSSM,
        latent: type[Categoricals] = Categoricals,
        two_hot: type[TwoHot] = TwoHot,
        vectors: type[Vectors] = Vectors,
    ) -> None:
        super().__init__()
        self.config = config
        self.spec = Spec(observation_space, action_space)
        stoch = config.stoch * config.classes
        size = config.deter + stoch
        self.codec = self._codec(observation_space, size, vectors)
        self.rssm = rssm(
            BlockGRU(config.deter, stoch, self.spec.action_size, config.hidden, config.blocks),
            prior=mlp(config.deter, config.hidden, 2, stoch),
            posterior=Posterior(config.deter, self.codec.size, config.hidden, stoch),
            latent=latent(config.stoch, config.classes, config.unimix),
        )
        self.two_hot = two_hot(config.bins)
        self.reward = mlp(size, config.units, 1, config.bins, scale=0.0)
        self.cont = mlp(size, config.units, 1, 1)
        self.size = size  # F

    def _codec(self, space: gym.Space, features: int, vectors: type[Vectors]) -> Vectors | Images:
        config = self.config
        if is_image(space):
            depths = tuple(config.depth * m for m in config.mults)
            stoch = features - config.deter
            return Images(space.shape, config.deter, stoch, config.units, depths, config.blocks)
        if isinstance(space, Discrete):
            raise TypeError("DreamerV3 here sees vectors, bits and images: wrap a Discrete space.")
        kind = Bits if isinstance(space, MultiBinary) else vectors
        return kind(space.shape, features, config.units)

    @property
    def discount(self) -> float:
        """gamma, which the official code folds into what the continuation head learns."""
        return 1 - 1 / self.config.horizon

    def imagine(
        self,
        state: State,
        action: Float[Tensor, "B A"],
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> Dreamt:
        noise = None if mode else self.noise(len(action), generator=generator)
        state = self.rssm.imagine(state, action, noise)
        reward, discount = self.predict(self.features(state))
        return Dreamt(state, reward, (discount / self.discount).clamp(max=1))

    def features(self, state: State) -> Float[Tensor, "*batch F"]:
        """All that is known of a state, as heads, actor and critic see it."""
        return torch.cat([state["deter"], state["stoch"].flatten(-2)], -1)

    def predict(
        self, features: Float[Tensor, "*batch F"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
        """The expected reward that came with a state, and the discount of what follows it:
        gamma times the probability that the episode goes on."""
        reward = self.two_hot.mean(self.reward(features).log_softmax(-1))
        return reward, self.cont(features).squeeze(-1).sigmoid()

    def kl(
        self, posterior: Float[Tensor, "B T L"], prior: Float[Tensor, "B T L"]
    ) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
        """Dynamics loss, which trains the prior only, and representation loss, which trains the
        posterior only: the same divergence KL(posterior || prior), each clipped from below.

            dyn = max(free, KL(sg(posterior) || prior))
            rep = max(free, KL(posterior || sg(prior)))

        Both are given as logits: `self.rssm.latent.kl(p, q)` is KL(p || q) in nats, summed over the
        latents. Free bits (`config.free_nats`) clip that sum, at every step by itself; below, no
        gradient flows. The scales of the two losses are not in here.
        """
        latent, free = self.rssm.latent, self.config.free_nats
        dyn = latent.kl(posterior.detach(), prior).clamp(min=free)
        rep = latent.kl(posterior, prior.detach()).clamp(min=free)
        return dyn, rep

    def objective(
        self, batch: Step, states: State, posterior: Float[Tensor, "B T L"]
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The loss of the world model on filtered sequences: the sum of five parts, each a mean
        over B T. Also the parts by name, detached.

        - "reconstruction": `codec.loss(codec.decode(features), observation)`, [B, T], where
          `features = self.features(states)`
        - "reward": `two_hot.loss(log_probs, reward)`; `self.reward(features)` are logits of bins
        - "continuation": binary cross entropy of `self.cont(features)`, [B, T, 1] logits, with the
          target `self.discount` (1 - terminated): gamma is learned here
        - "dynamics", "representation": what `kl` gives, times `config.dyn` and `config.rep`; the
          prior's logits are `self.rssm.prior(states["deter"])`
        """
        features = self.features(states)
        dyn, rep = self.kl(posterior, self.rssm.prior(states["deter"]))
        reward = self.reward(features).log_softmax(-1)
        cont, target = self.cont(features).squeeze(-1), self.discount * ~batch.terminated
        parts = {
            "reconstruction": self.codec.loss(self.codec.decode(features), batch.observation),
            "reward": self.two_hot.loss(reward, batch.reward),
            "continuation": F.binary_cross_entropy_with_logits(cont, target, reduction="none"),
            "dynamics": self.config.dyn * dyn,
            "representation": self.config.rep * rep,
        }
        parts = {name: part.mean() for name, part in parts.items()}
        return sum(parts.values()), {name: part.detach() for name, part in parts.items()}
