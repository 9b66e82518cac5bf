"""TWM: latent states, actions and rewards as one sentence (Robine, Höftmann, Uelwer, Harmeling,
"Transformer-based World Models Are Happy With 100k Interactions", ICLR 2023, arXiv 2303.07109).

Two models that share no gradient. The observation model is an autoencoder with categorical codes,
frame by frame. The dynamics model is a Transformer-XL that reads

    z_0 a_1 r_1   z_1 a_2 r_2   ...   z_t a_{t+1}

(arrival convention: a_{t+1} and r_{t+1} came with z_{t+1}) and says at every action what comes of
it: the next code, its reward, whether the episode goes on. A policy sees the code alone, so acting
never calls the transformer. The code followed is jrobine/twm at `e6a8e59`. What differs here:

| official | here | why |
|---|---|---|
| scores of attention are divided by the root of the width | of a head's size | as Transformer-XL |
| four frames as one observation | one | MinAtar shows a trail |
| networks with SiLU | and RMS norm, as in DreamerV3 | codes learn in half the time |
| dropout 0.1 in the dynamics | none | little data |
| an episode's last observation is thrown away | is a row like others | all rows are alike |
| continuation is learned with discount in it | without | gamma is the agent's |
| memory is counted in tokens, a z reaches one step further | in steps | simpler |
| of a window, first and last frame are not decoded | all are | simpler |

Shape key: B batch, T rows of a window, N rows that a state keeps, A actions, D width, S categorical
variables, K classes, Z = S K logits, I = Z + A + 1 numbers in a row, J tokens, L layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import gymnasium as gym
import torch
from gymnasium.spaces import MultiBinary
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from utils.nn.codec import Bits, Vectors, is_image
from utils.nn.context import age, attendable, begins, history
from utils.nn.entropy import missing_entropy
from utils.nn.mlp import mlp
from utils.world import Dreamt, Policy, Rollout, Spec, State, Step, where
from utils.worlds.dreamer_v2 import Categoricals
from utils.worlds.planet import Pictures
from utils.worlds.transformer_xl import RelativeAttention, TransformerXL


@dataclass(frozen=True)
class Config:
    """The official defaults."""

    stoch: int = 32  # S
    classes: int = 32  # K
    width: int = 256  # D
    blocks: int = 10  # L, layers of the transformer
    heads: int = 4
    head: int = 64  # features of each
    between: int = 1024  # units between the two layers of a block's network
    memory: int = 16  # steps back that a token sees
    context: int = 16  # N - 1, rows before the newest that a state keeps
    units: int = 512  # of the heads, and of encoder and decoder of vectors and cells
    layers: int = 4  # hidden ones of the heads
    depth: int = 48  # channels of the first convolution
    rewards: bool = True  # are rewards words of the sentence?
    entropy_scale: float = 5.0
    entropy_threshold: float = 0.1
    consistency_scale: float = 0.01
    reward_scale: float = 10.0
    cont_scale: float = 50.0


SMALL = Config(  # a laptop's, for observations of a few numbers
    **{"stoch": 8, "classes": 8, "width": 32, "blocks": 2, "head": 8, "between": 64, "memory": 8},
    **{"context": 16, "units": 64, "layers": 1},
)


class Prediction(NamedTuple):
    """What the dynamics model says of the arrival in rows 1 to T - 1."""

    logits: Float[Tensor, "B T-1 Z"]  # of the code
    reward: Float[Tensor, "B T-1"]
    cont: Float[Tensor, "B T-1"]  # logit of going on


def codec_of(space: gym.Space, codes: int, config: Config) -> nn.Module:
    """Encoder and decoder. For vectors and cells with one hidden layer each: behind three, codes
    say nothing for a thousand updates. Cells are rarely 1, so their logits count from -3."""
    if is_image(space):
        return Pictures(space, codes, config)
    cells = isinstance(space, MultiBinary)
    codec, numbers = (
        (Bits if cells else Vectors)(space.shape, codes, config.units),
        prod(space.shape),
    )
    codec.encoder = mlp(numbers, config.units, 1)
    codec.decoder = mlp(codes, config.units, 1, numbers)
    nn.init.constant_(codec.decoder[-1].bias, -3.0 * cells)
    return codec


class TWM(nn.Module):
    """The world model.

    State: `stoch` [B, S, K], the newest code; `rows` [B, N, I], the N newest rows of code, action
    and reward, the newest last; `length` [B], how many of them there are.

    Args:
        attention: class of the transformer's attention, for whoever changes it.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: Config,
        *,
        attention: type[RelativeAttention] = RelativeAttention,
    ) -> None:
        super().__init__()
        self.config, self.spec = config, Spec(observation_space, action_space)
        codes, actions = config.stoch * config.classes, self.spec.action_size
        self.codec = codec_of(observation_space, codes, config)
        self.posterior = mlp(self.codec.size, config.units, 0, codes)
        self.latent = Categoricals(config.stoch, config.classes)
        self.size = codes  # of a state's features
        self.sizes = codes, actions, 1  # of the parts of a row
        self.from_z = nn.Sequential(nn.Linear(codes, config.width), nn.SiLU())
        self.from_action = nn.Linear(actions, config.width, bias=False)
        self.from_reward = nn.Sequential(nn.Linear(1, config.width), nn.SiLU())
        self.transformer = TransformerXL(
            *(config.width, config.blocks, config.heads, config.head, config.between),
            scale=config.head**-0.5,
            attention=attention,
        )
        self.prior = mlp(config.width, config.units, config.layers, codes)
        self.reward = mlp(config.width, config.units, config.layers, 1)
        self.cont = mlp(config.width, config.units, config.layers, 1)

    # ---- observation model: what acting needs

    def initial(self, batch: int) -> State:
        """No rows."""
        zero = self.from_action.weight.new_zeros(())
        return {
            "stoch": zero.expand(batch, *self.latent.shape),
            "rows": zero.expand(batch, self.config.context + 1, sum(self.sizes)),
            "length": zero.long().expand(batch),
        }

    def observe(
        self,
        state: State,
        step: Step,
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> State:
        """The observation's code, and one row more to remember. Nothing is predicted, so the
        transformer is not asked. Rows where `step.first` forget all before.

        `self.encode(observation, noise)` gives code and logits, with `noise` None for the mode and
        else `self.noise(B, generator=generator)`; `self.push(state, code, action, reward)` the
        state with that row in it; action and reward are zero where `first`.
        """
        noise = None if mode else self.noise(len(step.reward), generator=generator)
        stoch, _ = self.encode(step.observation, noise)
        state = where(step.first, self.initial(len(step.first)), state)
        action = step.action.masked_fill(step.first[:, None], 0.0)
        return self.push(state, stoch, action, step.reward.masked_fill(step.first, 0.0))

    def encode(
        self, observation: Tensor, noise: Float[Tensor, "*batch S"] | None
    ) -> tuple[Float[Tensor, "*batch S K"], Float[Tensor, "*batch Z"]]:
        """The code of each observation by itself, and its logits."""
        logits = self.posterior(self.codec.encode(observation))
        return self.latent.sample(logits, noise), logits

    def push(
        self,
        state: State,
        stoch: Float[Tensor, "B S K"],
        action: Float[Tensor, "B A"],
        reward: Float[Tensor, " B"],
    ) -> State:
        """The state with one row more; the oldest row is forgotten when it is full."""
        row = torch.cat([stoch.flatten(1), action, reward[:, None]], -1)
        rows = torch.cat([state["rows"][:, 1:], row[:, None]], 1)
        length = (state["length"] + 1).clamp(max=rows.shape[1])
        return {"stoch": stoch, "rows": rows, "length": length}

    def features(self, state: State) -> Float[Tensor, "*batch Z"]:
        """All that a policy sees of a state: the code."""
        return state["stoch"].flatten(-2)

    def decode(self, state: State) -> Tensor:
        return self.codec.expected(self.codec.decode(self.features(state)))

    def noise(self, *batch: int, generator: torch.Generator | None) -> Tensor:
        """What one code of each of `batch` states is drawn from."""
        return self.latent.noise(*batch, like=self.from_action.weight, generator=generator)

    # ---- dynamics model

    def words(self, rows: Float[Tensor, "B T I"]) -> Float[Tensor, "B J D"]:
        """The sentence z_0 a_1 r_1 z_1 a_2 r_2 ... z_{T-2} a_{T-1} of T rows, word by word.

        Row t holds what arrived together: the code z_t, the action a_t that led to it, the reward
        r_t that came with it; `rows.split(self.sizes, -1)` takes them apart. They become words by
        `self.from_z`, `self.from_action` and `self.from_reward`, [B, T, D] each, and the last is
        multiplied by `self.config.rewards` (0 or 1). The sentence has J = 3 (T - 1) - 1 words: it
        ends with the last action, because its reward and where it led are for the model to say.
        Robine et al. 2023, section 2.1.
        """
        z, action, reward = rows.split(self.sizes, -1)
        z, action = self.from_z(z), self.from_action(action)
        reward = self.from_reward(reward) * self.config.rewards
        steps = torch.stack([z[:, :-1], action[:, 1:], reward[:, 1:]], 2)
        return steps.flatten(1, 2)[:, :-1]

    def mask(self, first: Bool[Tensor, "B T"]) -> Bool[Tensor, "B J J"]:
        """Which words each word may look at: earlier ones of its episode, `memory` steps back."""
        step = torch.arange(3 * first.shape[1] - 4, device=first.device) // 3
        near = step[:, None] - step <= self.config.memory
        return attendable(first[:, :-1])[:, step][:, :, step] & near.tril()

    def say(self, h: Float[Tensor, "B n D"]) -> Prediction:
        """What the outputs at actions mean."""
        return Prediction(self.prior(h), self.reward(h).squeeze(-1), self.cont(h).squeeze(-1))

    def predict(
        self, rows: Float[Tensor, "B T I"], first: Bool[Tensor, "B T"]
    ) -> tuple[Prediction, Float[Tensor, "B L J D"]]:
        """What is said of rows 1 to T - 1, each from the rows before it and its own action; and
        the memory of all words."""
        words = self.words(rows)
        h, memory = self.transformer(words, self.transformer.empty(len(rows)), self.mask(first))
        return self.say(h[:, 1::3]), memory

    def imagine(
        self,
        state: State,
        action: Float[Tensor, "B A"],
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> Dreamt:
        """Reads the state's rows again, and the action; the reward that it says goes into the new
        row, as a real one would."""
        noise = None if mode else self.noise(len(action), generator=generator)
        said, _ = self.predict(*self.asked(state, action))
        return self.arrive(state, action, Prediction(*(v[:, -1] for v in said)), noise)

    def asked(
        self, state: State, action: Float[Tensor, "B A"]
    ) -> tuple[Float[Tensor, "B N+1 I"], Bool[Tensor, "B N+1"]]:
        """The state's rows and one more that holds the action only; where they begin."""
        row = F.pad(action, (self.sizes[0], 1))
        first = begins(state["length"] + 1, self.config.context + 2)
        return torch.cat([state["rows"], row[:, None]], 1), first

    def arrive(
        self,
        state: State,
        action: Float[Tensor, "B A"],
        said: Prediction,
        noise: Float[Tensor, "B S"] | None,
    ) -> Dreamt:
        """The state that a prediction (without its axis of time) leads to."""
        state = self.push(state, self.latent.sample(said.logits, noise), action, said.reward)
        return Dreamt(state, said.reward, said.cont.sigmoid())

    def dream(
        self, state: State, policy: Policy, horizon: int, generator: torch.Generator | None = None
    ) -> Rollout:
        """As `utils.world.rollout` with samples, but each word is read once: what the layers made
        of earlier words is kept. The same dream, if a state keeps all that its newest word depends
        on: `context` is at least `blocks` times `memory`, or more than ever happened.
        """
        kept = 3 * self.config.memory + 2  # words
        states, actions, rewards, conts = [], [], [], []
        for h in range(horizon):
            action = policy(state, generator)
            rows, first = self.asked(state, action)
            if h == 0:
                said, memory = self.predict(rows, first)
                valid = self.mask(first)[:, -1, -kept:]
            else:
                words = self.words(rows[:, -3:])[:, 2:]  # r, z, a: what has come since
                mask = self.going_on(valid, kept)
                out, memory = self.transformer(words, memory[:, :, -valid.shape[1] :], mask)
                said, valid = self.say(out[:, -1:]), F.pad(valid, (0, 3), value=True)[:, -kept:]
            noise = self.noise(len(action), generator=generator)
            state, reward, cont = self.arrive(
                state, action, Prediction(*(v[:, -1] for v in said)), noise
            )
            for column, value in zip(
                (states, actions, rewards, conts), (state, action, reward, cont), strict=True
            ):
                column.append(value)
        stacked = {k: torch.stack([s[k] for s in states], 1) for k in states[0]}
        return Rollout(stacked, *(torch.stack(v, 1) for v in (actions, rewards, conts)))

    def going_on(self, valid: Bool[Tensor, "B M"], kept: int) -> Bool[Tensor, "B 3 M+3"]:
        """Which of M words in memory and of the three new ones the new ones may look at."""
        size = valid.shape[1]
        word = torch.arange(size + 3, device=valid.device)
        step = (word - size + kept) // 3  # counted from the first word of a full memory
        near = (step[size:, None] - step <= self.config.memory) & (word <= word[size:, None])
        return F.pad(valid, (0, 3), value=True)[:, None] & near

    # ---- losses

    def loss(
        self, batch: Step, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor], State]:
        """One batch `[B, T, ...]`: loss, its parts, and all B T states, detached.

        No gradient passes from one model to the other: one optimiser for both does what two do.
        """
        noise = self.noise(*batch.reward.shape, generator=generator)
        stoch, posterior = self.encode(batch.observation, noise)
        action = batch.action.masked_fill(batch.first[..., None], 0.0)
        reward = batch.reward.masked_fill(batch.first, 0.0)
        rows = torch.cat([stoch.detach().flatten(2), action, reward[..., None]], -1)
        said, _ = self.predict(rows, batch.first)
        seen = self.codec.loss(self.codec.decode(stoch.flatten(2)), batch.observation)
        parts = {"reconstruction": seen.mean()}
        parts |= self.balanced(posterior, said.logits, batch.first)
        parts |= self.outcome(said, batch)
        past = history(rows, age(batch.first), self.config.context + 1).flatten(0, 1)
        length = (age(batch.first) + 1).clamp(max=past.shape[1]).flatten()
        starts = {"stoch": stoch.detach().flatten(0, 1), "rows": past, "length": length}
        return sum(parts.values()), {k: v.detach() for k, v in parts.items()}, starts

    def balanced(
        self,
        posterior: Float[Tensor, "B T Z"],
        prior: Float[Tensor, "B T-1 Z"],
        first: Bool[Tensor, "B T"],
    ) -> dict[str, Tensor]:
        """The balanced cross-entropy: what pulls the codes q, and what pulls their prediction p.

            latent       mean of H(sg q, p)                                        moves p only
            consistency  `consistency_scale` times the mean of H(sg p, q)          moves q only
            entropy      `entropy_scale` times what is missing to a floor          moves q only

        H(q, p) = - sum q ln p, over K classes and all S variables; q and p are softmaxes of logits,
        made [..., S, K] by `unflatten(-1, self.latent.shape)`; sg is `detach`. Column t of `prior`
        is the prediction of row t + 1, and counts unless that row is `first`: nothing led to it.
        The means are over the columns that count (0 if none does). The last is `missing_entropy` of
        all T rows' q, with `entropy_threshold`. Take logarithms by `log_softmax`: beside a sure
        code, the others have a probability of 0. The numbers are in `self.config`. Robine et al.
        2023, section 2.1.
        """
        config, counts = self.config, ~first[:, 1:]
        q = posterior.unflatten(-1, self.latent.shape).log_softmax(-1)
        p = prior.unflatten(-1, self.latent.shape).log_softmax(-1)
        latent = -(q[:, 1:].exp().detach() * p).sum((-2, -1))
        consistency = -(p.exp().detach() * q[:, 1:]).sum((-2, -1))
        columns = counts.sum().clamp(min=1)
        return {
            "latent": (latent * counts).sum() / columns,
            "consistency": config.consistency_scale * (consistency * counts).sum() / columns,
            "entropy": config.entropy_scale * missing_entropy(q, config.entropy_threshold),
        }

    def outcome(self, said: Prediction, batch: Step) -> dict[str, Tensor]:
        """The losses of reward and continuation, each a mean over the arrivals that count (0 if
        none does).

            reward        `reward_scale` times (said.reward - r)^2 / 2
            continuation  `cont_scale` times the cross-entropy of the logit `said.cont` with 1 where
                          the episode goes on and 0 where it terminated

        Column t of what was said is about row t + 1 of the batch. It counts unless that row is
        `first`: nothing led to it. A row in which an episode terminates counts like any other.
        """
        config, counts = self.config, ~batch.first[:, 1:]
        error = 0.5 * (said.reward - batch.reward[:, 1:]).square()
        goes_on = (~batch.terminated[:, 1:]).to(said.cont.dtype)
        ends = F.binary_cross_entropy_with_logits(said.cont, goes_on, reduction="none")
        columns = counts.sum().clamp(min=1)
        return {
            "reward": config.reward_scale * (error * counts).sum() / columns,
            "continuation": config.cont_scale * (ends * counts).sum() / columns,
        }
