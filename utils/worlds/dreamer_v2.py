"""DreamerV2: latents are categories, and the prior learns faster than the posterior (Hafner,
Lillicrap, Norouzi, Ba, "Mastering Atari with Discrete World Models", ICLR 2021). Actor and critic:
`utils/agents/mixed_actor_critic.py`.

The code followed is danijar/dreamerv2 at `07d906e`, with the settings for Atari. What differs here:

| official | here | why |
|---|---|---|
| convolutions with ELU | with ReLU, as in PlaNet | shared |
| vectors cost half their squared error | divided by `noise` squared, as in PlaNet | shared |
| rewards are squashed by tanh | as they are | ours are small |

Shape key: B batch, T time, A actions, F features of a state, D deterministic features, S
categorical variables, K classes, L = S K logits, U hidden units, E features of an observation.
"""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium as gym
import torch
from gymnasium.spaces import MultiBinary
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from utils.nn.codec import is_image
from utils.nn.dense import dense, glorot
from utils.nn.mlp import Linear
from utils.world import Dreamt, Spec, State, Step
from utils.worlds import rssm
from utils.worlds.planet import Pictures, Vectors
from utils.worlds.rssm import RSSM, LatentWorld


@dataclass(frozen=True)
class Config:
    """The official names and defaults for Atari."""

    deter: int = 600  # D, memory of the deterministic path
    hidden: int = 600  # units inside the recurrence
    stoch: int = 32  # S, categorical variables
    classes: int = 32  # K, of each of them
    units: int = 400  # of the heads, and of encoder and decoder of vectors
    layers: int = 4  # hidden ones of these
    depth: int = 48  # channels of the first convolution
    noise: float = 1.0  # standard deviation of a vector's likelihood
    kl_scale: float = 0.1
    balance: float = 0.8  # share of the divergence's gradient that goes to the prior
    free_nats: float = 0.0
    discount: float = 0.999  # γ
    discount_scale: float = 5.0


SMALL = Config(  # a laptop's, for observations of a few numbers
    **{"deter": 128, "hidden": 64, "stoch": 8, "classes": 8, "units": 64, "layers": 2},
    **{"noise": 0.3, "kl_scale": 1.0, "discount": 0.99},
)


class Categoricals(rssm.Categoricals):
    """S categorical variables of K classes each, without a uniform share."""

    def __init__(self, variables: int, classes: int) -> None:
        super().__init__(variables, classes, 0.0)

    def kl(
        self, p: Float[Tensor, "*batch L"], q: Float[Tensor, "*batch L"]
    ) -> Float[Tensor, "*batch"]:
        """KL(p || q) in nats, summed over the S independent variables; both given as logits.

        From logarithms all the way: a class that softmax rounds to 0 has a finite one.
        """
        p, q = (logits.unflatten(-1, self.shape).log_softmax(-1) for logits in (p, q))
        return (p.exp() * (p - q)).sum((-2, -1))


class Bits(Vectors):
    """Cells that are 0 or 1: independent Bernoulli variables. They are rarely 1, so logits count
    from -3: from 0, a thousand updates go by before anything else is learned."""

    def decode(self, features: Float[Tensor, "*batch F"]) -> Float[Tensor, "*batch O"]:
        return self.decoder(features) - 3

    def loss(
        self, prediction: Float[Tensor, "*batch O"], observation: Tensor
    ) -> Float[Tensor, "*batch"]:
        """Cross entropy in nats, summed over the cells."""
        bits = self.scaled(observation)
        return F.binary_cross_entropy_with_logits(prediction, bits, reduction="none").sum(-1)

    def expected(self, prediction: Float[Tensor, "*batch O"]) -> Tensor:
        """Probabilities that cells are 1."""
        return prediction.sigmoid().unflatten(-1, self.shape)


class Cell(nn.Module):
    """The deterministic path: a GRU whose gates are normalised together.

    x = elu(W_z z + W_a a + b)
    reset, candidate, update = norm(W [x, h] + b)
    h' = (1 - u) h + u tanh(sigmoid(reset) candidate),   u = sigmoid(update - 1)
    """

    def __init__(self, deter: int, stoch: int, actions: int, hidden: int) -> None:
        super().__init__()
        self.size = deter
        self.from_stoch = Linear(stoch, hidden, fan_in=stoch + actions)
        self.from_action = Linear(actions, hidden, bias=False, fan_in=stoch + actions)
        self.gates = Linear(hidden + deter, 3 * deter)
        self.norm = nn.LayerNorm(3 * deter, eps=1e-3)

    def inputs(self, action: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch U"]:
        """The action's share, which needs no state."""
        return self.from_action(action)

    def forward(
        self,
        deter: Float[Tensor, "B D"],
        stoch: Float[Tensor, "B S K"],
        inputs: Float[Tensor, "B U"],
    ) -> Float[Tensor, "B D"]:
        x = F.elu(self.from_stoch(stoch.flatten(1)) + inputs)
        reset, candidate, update = self.norm(self.gates(torch.cat([x, deter], -1))).chunk(3, -1)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        return torch.lerp(deter, candidate, torch.sigmoid(update - 1))


class Posterior(nn.Module):
    """Logits from deterministic state and observation: one hidden layer that sees both."""

    def __init__(self, deter: int, embed: int, hidden: int, logits: int) -> None:
        super().__init__()
        self.from_deter = Linear(deter, hidden, fan_in=deter + embed)
        self.from_embed = Linear(embed, hidden, bias=False, fan_in=deter + embed)
        self.logits = Linear(hidden, logits)

    def inputs(self, embed: Float[Tensor, "*batch E"]) -> Float[Tensor, "*batch U"]:
        """The observation's share, which needs no state."""
        return self.from_embed(embed)

    def forward(
        self, deter: Float[Tensor, "B D"], inputs: Float[Tensor, "B U"]
    ) -> Float[Tensor, "B L"]:
        return self.logits(F.elu(self.from_deter(deter) + inputs))


class DreamerV2(LatentWorld):
    """The world model. State: `deter` [B, D] and `stoch` [B, S, K], one-hot.

    Args:
        latent: class of the stochastic path, for whoever changes it.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: Config,
        *,
        latent: type[Categoricals] = Categoricals,
    ) -> None:
        super().__init__()
        self.config = config
        self.spec = Spec(observation_space, action_space)
        stoch = config.stoch * config.classes
        size = config.deter + stoch
        cells = Bits if isinstance(observation_space, MultiBinary) else Vectors
        codec = Pictures if is_image(observation_space) else cells
        self.codec = codec(observation_space, size, config)
        self.rssm = RSSM(
            Cell(config.deter, stoch, self.spec.action_size, config.hidden),
            prior=dense(config.deter, config.hidden, 1, stoch),
            posterior=Posterior(config.deter, self.codec.size, config.hidden, stoch),
            latent=latent(config.stoch, config.classes),
        )
        self.reward = dense(size, config.units, config.layers, 1)
        self.cont = dense(size, config.units, config.layers, 1)
        self.size = size  # F
        glorot(self)

    @property
    def discount(self) -> float:
        """gamma, which the official code folds into what the continuation head learns."""
        return self.config.discount

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
        return self.reward(features).squeeze(-1), self.cont(features).squeeze(-1).sigmoid()

    def kl(
        self, posterior: Float[Tensor, "B T L"], prior: Float[Tensor, "B T L"]
    ) -> Float[Tensor, ""]:
        """KL balancing: the divergence KL(posterior || prior), of whose gradient the prior gets the
        share α = `self.config.balance`, the posterior the rest.

            loss = α max(free, E[KL(sg(posterior) || prior)])
                   + (1 - α) max(free, E[KL(posterior || sg(prior))])

        sg stops the gradient (`detach`). The mean is over B and T, and the free nats
        (`self.config.free_nats`) clip the means. `self.rssm.latent.kl(p, q)` is KL(p || q) [B, T].
        Hafner et al. 2021, algorithm 2.
        """
        latent, free = self.rssm.latent, self.config.free_nats
        dyn = latent.kl(posterior.detach(), prior).mean().clamp(min=free)
        rep = latent.kl(posterior, prior.detach()).mean().clamp(min=free)
        return self.config.balance * dyn + (1 - self.config.balance) * rep

    def objective(
        self, batch: Step, states: State, posterior: Float[Tensor, "B T L"]
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The loss of the world model on filtered sequences, and its parts, each a mean over B T.

        Rewards cost half their squared error; continuation has the target gamma (1 - terminated).
        """
        features = self.features(states)
        error = 0.5 * (self.reward(features).squeeze(-1) - batch.reward).square()
        cont, target = self.cont(features).squeeze(-1), self.discount * ~batch.terminated
        ends = F.binary_cross_entropy_with_logits(cont, target)
        seen = self.codec.loss(self.codec.decode(features), batch.observation)
        parts = {
            "reconstruction": seen.mean(),
            "reward": error.mean(),
            "continuation": self.config.discount_scale * ends,
            "divergence": self.config.kl_scale
            * self.kl(posterior, self.rssm.prior(states["deter"])),
        }
        return sum(parts.values()), {name: part.detach() for name, part in parts.items()}
