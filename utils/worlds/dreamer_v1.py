"""Dreamer, the first: PlaNet's world, from which an actor learns (Hafner, Lillicrap, Ba, Norouzi,
"Dream to Control: Learning Behaviors by Latent Imagination", ICLR 2020).

The code followed is danijar/dreamer at `56d4d44`. Actor and critic:
`utils/agents/pathwise_actor_critic.py`. The recurrence, its Gaussians, encoder and decoder are
those of `utils/worlds/planet.py`; what differs is below: sizes, how weights start, the weight of
the reward, and over what the free nats are averaged.

Shape key: B batch, T time, L numbers that say where the latents lie and how far they spread.
"""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium as gym
from jaxtyping import Float
from torch import Tensor

from utils.nn.dense import glorot
from utils.world import State, Step
from utils.worlds import planet


@dataclass(frozen=True)
class Config(planet.Config):
    """The official defaults, where they are not PlaNet's."""

    units: int = 400
    layers: int = 2
    reward_scale: float = 1.0


SMALL = Config(  # a laptop's, for rewards of about 1
    deter=64, stoch=16, hidden=64, units=64, reward_scale=10.0, free_nats=0.3
)


class DreamerV1(planet.PlaNet):
    """The world model. State: `deter` [B, D] and `stoch` [B, Z]."""

    def __init__(
        self, observation_space: gym.Space, action_space: gym.Space, config: Config
    ) -> None:
        super().__init__(observation_space, action_space, config)
        glorot(self)

    def objective(
        self, batch: Step, states: State, posterior: Float[Tensor, "B T L"]
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The negative evidence lower bound of filtered sequences `[B, T, ...]`, and its parts.

            loss = E[-log p(x | h, z)] + scale E[-log p(r | h, z)] + max(free, E[KL(q || p)])

        The free nats clip the mean over B and T, where PlaNet takes them off at every step by
        itself; and first rows count: the reward that came with them was 0.
        """
        features = self.features(states)
        kl = self.rssm.latent.kl(posterior, self.rssm.prior(states["deter"]))
        error = 0.5 * (self.predict(features) - batch.reward).square()
        seen = self.codec.loss(self.codec.decode(features), batch.observation)
        parts = {
            "reconstruction": seen.mean(),
            "reward": self.config.reward_scale * error.mean(),
            "divergence": kl.mean().clamp(min=self.config.free_nats),
        }
        return sum(parts.values()), {name: part.detach() for name, part in parts.items()}
