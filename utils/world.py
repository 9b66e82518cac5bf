"""What every world model of the course is: types, the protocol, and what runs on any world.

Data convention: **arrival**. Row t holds what arrived together: the observation, the action that
led to it, the reward that came with it, whether it is the first of an episode, and whether the
episode terminated in it. Action and reward are zero where `first`.

Shape key: B batch, T time, H horizon, A action size, N rows of a bank of states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from utils.nn.random import bernoulli

State = dict[str, Tensor]  # flat, batch first, a value: no world changes its argument
Policy = Callable[[State, torch.Generator | None], Tensor]  # (state, generator) -> action [B, A]


class Step(NamedTuple):
    """One row of experience in the arrival convention: `[B, ...]`, in data sets `[B, T, ...]`."""

    observation: Tensor  # [B, *shape] as the data holds it; one-hot float [B, n] if Discrete(n)
    action: Float[Tensor, "B A"]  # led to the observation; one-hot if discrete; zero where first
    reward: Float[Tensor, " B"]  # came with the observation; zero where first
    first: Bool[Tensor, " B"]  # the observation starts an episode
    terminated: Bool[Tensor, " B"]  # the episode ended in it for good (not by a time limit)


class Dreamt(NamedTuple):
    """One imagined step: the state arrived in and what came with it."""

    state: State
    reward: Float[Tensor, " B"] | None  # expected reward; None where the system predicts none
    cont: Float[Tensor, " B"] | None  # P(not terminated), without gamma; None where there is none


@dataclass(frozen=True)
class Spec:
    """What a world consumes and predicts.

    The spaces are those of a single environment. `observation_space` describes what one step
    emits: a world whose step is a chunk of video has the frames as its first axis, and says so in
    `frames`. A `Discrete` space stands for one-hot float tensors, in observations and in actions.
    """

    observation_space: gym.Space
    action_space: gym.Space
    frames: int = 1  # frames that one step emits
    observation: bool = True  # decode returns an observation, else None
    reward: bool = True  # imagine predicts a reward, else None
    cont: bool = True  # imagine predicts a continuation, else None
    differentiable: bool = True  # gradients of the imagined state reach the action

    @property
    def discrete(self) -> bool:
        """Actions are one-hot."""
        return isinstance(self.action_space, Discrete)

    @property
    def action_size(self) -> int:
        """A, the last axis of an action tensor."""
        return gym.spaces.flatdim(self.action_space)


class World(Protocol):
    """A learned (or exact) simulator. Outside the protocol, the same names everywhere:
    `loss(batch, generator) -> (loss, metrics, starts)`; for systems with chance nodes
    `chance(state, action) -> logits` of codes and `outcome(state, action, code) -> Dreamt`.

    No method carries `no_grad` or a detach that its paper's equation does not have: the caller
    decides. All sampling goes through `utils.nn.random` with the generator given.
    """

    spec: Spec

    def initial(self, batch: int) -> State:
        """The state that knows nothing yet; it may not be able to imagine yet."""
        ...

    def observe(
        self,
        state: State,
        step: Step,
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> State:
        """Filter one step `[B, ...]`: posterior, encoder, token, context. Forgets rows where
        `step.first`; learns nothing."""
        ...

    def imagine(
        self,
        state: State,
        action: Float[Tensor, "B A"],
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> Dreamt:
        """One step of dream; `mode` replaces every sample by the distribution's mode."""
        ...

    def decode(self, state: State) -> Tensor | None:
        """The expected observation `[B, *shape]`, in the space of the data (probabilities for a
        one-hot space); None where `spec.observation` is False."""
        ...


def where(mask: Bool[Tensor, " B"], a: State, b: State) -> State:
    """Row by row: `a` where the mask is True, else `b`."""
    return {k: torch.where(mask.view(-1, *[1] * (a[k].ndim - 1)), a[k], b[k]) for k in a}


def take(state: State, index: Tensor | slice) -> State:
    """The rows that `index` (integers, a mask or a slice) names."""
    return {k: v[index] for k, v in state.items()}


def detach(state: State) -> State:
    """The same values, cut off from the graph that made them."""
    return {k: v.detach() for k, v in state.items()}


def repeat(state: State, n: int) -> State:
    """Every row `n` times in place: rows a, b become a, a, b, b for `n=2`."""
    return {k: v.repeat_interleave(n, 0) for k, v in state.items()}


def stack(states: Sequence[State]) -> State:
    """T states `[B, ...]` as one with a time axis, `[B, T, ...]`."""
    return {k: torch.stack([state[k] for state in states], 1) for k in states[0]}


def rows(state: State) -> int:
    """B, the number of rows."""
    return len(next(iter(state.values())))


def to_tensor(space: gym.Space, values: Any) -> Tensor:
    """A batch of observations or actions of `space`, as worlds take it.

    Discrete: one-hot float32 `[B, n]`. Box and MultiBinary: `[B, *shape]`, floats as float32, other
    types (uint8 images) as they are. The result shares no memory with `values`.
    """
    values = torch.as_tensor(values)
    if isinstance(space, Discrete):
        index = values.long() - int(space.start)
        if index.numel() and not 0 <= index.min() <= index.max() < space.n:
            raise ValueError(
                f"{values.tolist()} holds a value outside {space}: use its own numbers."
            )
        return nn.functional.one_hot(index, int(space.n)).float()
    if isinstance(space, Box | MultiBinary):
        return values.float().clone() if values.is_floating_point() else values.clone()
    raise TypeError(f"{space} has no tensor form: use Box, Discrete or MultiBinary, or flatten it.")


def to_numpy(space: gym.Space, tensor: Tensor) -> np.ndarray:
    """The way back: members of `space`, batched, with its dtype.

    One-hot or probabilities `[B, n]` become the arg max; expected values are rounded where the
    space holds integers, and clipped to its bounds.
    """
    values = tensor.detach().cpu().numpy()
    if isinstance(space, Discrete):
        return (values.argmax(-1) + space.start).astype(space.dtype)
    if isinstance(space, MultiBinary):
        return (values > 0.5).astype(space.dtype).reshape(-1, *space.shape)
    if isinstance(space, Box):
        values = values.reshape(-1, *space.shape)
        values = np.rint(values) if np.issubdtype(space.dtype, np.integer) else values
        return values.clip(space.low, space.high).astype(space.dtype)
    raise TypeError(f"{space} has no tensor form: use Box, Discrete or MultiBinary, or flatten it.")


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Parameters off, path open: gradients pass through the modules to what went in.

    For a roll-out that trains a policy through a world but not the world. A world without
    parameters passes through unchanged.
    """
    on = [p for m in modules if isinstance(m, nn.Module) for p in m.parameters() if p.requires_grad]
    for parameter in on:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in on:
            parameter.requires_grad_(True)


def _checked(world: World, action: Tensor, batch: int) -> Tensor:
    if action.shape != (batch, world.spec.action_size):
        raise ValueError(
            f"The action has shape {tuple(action.shape)}, but this world takes [B, A] = "
            f"({batch}, {world.spec.action_size}): one row each, one-hot if discrete (to_tensor)."
        )
    return action


class Rollout(NamedTuple):
    """H imagined rows in the arrival convention, without the start: the state in row t was reached
    by the action in row t, and reward and cont came with it."""

    state: State  # [B, H, ...], or what `read` made of each state
    action: Float[Tensor, "B H A"]
    reward: Float[Tensor, "B H"] | None
    cont: Float[Tensor, "B H"] | None


def rollout(
    world: World,
    state: State,
    policy: Policy | Float[Tensor, "B H A"],
    horizon: int,
    *,
    generator: torch.Generator | None = None,
    mode: bool = False,
    read: Callable[[State], Any] | None = None,
) -> Rollout:
    """Imagine `horizon` steps from `state`, with gradients unless the caller forbids them.

    Args:
        policy: acts on every state, the start first; or a tensor of recorded actions.
        mode: take the mode of every prediction instead of a sample.
        read: what to keep of each state, e.g. `world.decode` (a tensor, a dict or None); by
            default the whole state, whose memory grows with the horizon.
    """
    if isinstance(policy, Tensor) and (policy.ndim != 3 or policy.shape[1] < horizon):
        raise ValueError(
            f"Recorded actions have shape {tuple(policy.shape)}, but {horizon} steps need "
            "[B, H, A] with H at least that: give more actions or a shorter horizon."
        )
    kept, actions, rewards, conts = [], [], [], []
    for t in range(horizon):
        action = policy[:, t] if isinstance(policy, Tensor) else policy(state, generator)
        action = _checked(world, action, rows(state))
        state, reward, cont = world.imagine(state, action, generator=generator, mode=mode)
        kept.append(state if read is None else read(state))
        actions.append(action)
        rewards.append(reward)
        conts.append(cont)
    return Rollout(*(_stacked(values) for values in (kept, actions, rewards, conts)))


def _stacked(values: list[Any]) -> Any:
    if values[0] is None:
        return None
    return stack(values) if isinstance(values[0], dict) else torch.stack(values, 1)


class Outcome(NamedTuple):
    """What one step of `Dream` gave, row by row."""

    arrived: State  # where the actions led, before any row was reset
    reward: Float[Tensor, " B"] | None
    terminated: Bool[Tensor, " B"]
    truncated: Bool[Tensor, " B"]


class Dream:
    """B dreams side by side, each starting over from a bank of states when it ends.

    A dream terminates as the world's `cont` says and is truncated after `limit` steps (both may
    come in one step, as in gymnasium's TimeLimit). Everything runs under `no_grad` on the device of
    `starts`, without a host sync; rows are reset one by one with `where`.

    Args:
        starts: N states, filtered over real contexts.
        ends: "sample" draws the end with probability 1 - cont; "threshold" ends where cont < 0.5.
        seed: of starts, ends and the world's own samples.

    Attributes: `state`, what the next action answers to; `age` `[B]`, steps since its start.
    """

    def __init__(
        self,
        world: World,
        starts: State,
        batch: int,
        limit: int,
        ends: Literal["sample", "threshold"] = "sample",
        seed: int = 0,
    ) -> None:
        if not starts or rows(starts) == 0:
            raise ValueError("The bank of starts is empty: filter at least one context into it.")
        if batch < 1 or limit < 1:
            raise ValueError(f"batch={batch} and limit={limit} must both be at least 1.")
        if ends not in ("sample", "threshold"):
            raise ValueError(f"ends={ends!r} is unknown: give 'sample' or 'threshold'.")
        self.world, self.starts, self.batch = world, detach(starts), batch
        self.limit, self.ends = limit, ends
        self.device = next(iter(starts.values())).device
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.reset()

    def draw(self) -> Int[Tensor, " B"]:
        """Row numbers of the bank, uniform."""
        size = (self.batch,)
        n = rows(self.starts)
        return torch.randint(n, size, generator=self.generator, device=self.device)

    def reset(
        self, mask: Bool[Tensor, " B"] | None = None, index: Int[Tensor, " B"] | None = None
    ) -> State:
        """Start the rows in `mask` (default: all) over, from the rows `index` of the bank
        (default: drawn)."""
        fresh = take(self.starts, self.draw() if index is None else index)
        if mask is None:
            self.state = fresh
            self.age = torch.zeros(self.batch, dtype=torch.long, device=self.device)
        else:
            self.state = where(mask, fresh, self.state)
            self.age = self.age.masked_fill(mask, 0)
        return self.state

    @torch.no_grad()
    def step(self, action: Float[Tensor, "B A"]) -> Outcome:
        """Imagine one step and start over the rows that ended; `state` holds the rows to act on."""
        action = _checked(self.world, action, self.batch)
        arrived, reward, cont = self.world.imagine(self.state, action, generator=self.generator)
        self.state, self.age = arrived, self.age + 1
        if cont is None:
            terminated = torch.zeros_like(self.age, dtype=torch.bool)
        elif self.ends == "sample":
            terminated = ~bernoulli(cont, self.generator)
        else:
            terminated = cont < 0.5
        truncated = self.age >= self.limit
        self.reset(terminated | truncated)
        return Outcome(arrived, reward, terminated, truncated)


class DreamEnv(VectorEnv):
    """A `Dream` as a gymnasium vector environment, so that any agent can be trained in it.

    Same keys, dtypes and shapes as `SyncVectorEnv(..., autoreset_mode=SAME_STEP)`: where an episode
    ends, the observation is already the next episode's first, and `final_obs` and `final_info` hold
    the last one's. `reset(seed=s)` means `[s, s + 1, ...]`: the start of a row depends on its own
    seed; the noise of all later steps comes from one generator, which only a reset of every row
    with a seed seeds. A reset through `options={"reset_mask": mask}` leaves other rows alone.
    """

    def __init__(self, dream: Dream) -> None:
        spec = dream.world.spec
        for part in ("observation", "reward"):
            if not getattr(spec, part):
                raise ValueError(
                    f"This world predicts no {part}, which an environment must give: "
                    "step through Dream itself."
                )
        self.dream, self.num_envs = dream, dream.batch
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}
        self.single_observation_space = spec.observation_space
        self.single_action_space = spec.action_space
        self.observation_space = batch_space(spec.observation_space, self.num_envs)
        self.action_space = batch_space(spec.action_space, self.num_envs)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start all rows over, or those in `options["reset_mask"]` (a bool array)."""
        seeds = [None] * self.num_envs if seed is None else seed
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else list(seeds)
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds were given for {self.num_envs} rows.")
        mask = self._mask(options)
        if mask is None and None not in seeds:
            self.dream.generator.manual_seed(
                int(np.random.SeedSequence(seeds).generate_state(1)[0])
            )
        index = self.dream.draw().tolist()
        for row, own in enumerate(seeds):
            if own is not None:
                index[row] = int(np.random.default_rng(own).integers(rows(self.dream.starts)))
        self.dream.reset(mask, torch.as_tensor(index, device=self.dream.device))
        return self._decoded(self.dream.state), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        action = to_tensor(self.single_action_space, np.asarray(actions)).float()
        outcome = self.dream.step(action.flatten(1).to(self.dream.device))
        terminated, truncated = outcome.terminated.cpu().numpy(), outcome.truncated.cpu().numpy()
        infos: dict[str, Any] = {}
        ended = np.flatnonzero(terminated | truncated)
        if len(ended):
            final = self._decoded(outcome.arrived)
            for row in ended:
                infos = self._add_info(infos, {"final_obs": final[row], "final_info": {}}, row)
        reward = outcome.reward.cpu().numpy().astype(np.float64)
        return self._decoded(self.dream.state), reward, terminated, truncated, infos

    def _mask(self, options: dict[str, Any] | None) -> Tensor | None:
        mask = (options or {}).get("reset_mask")
        if mask is None:
            return None
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError("options['reset_mask'] must be a numpy array of bool.")
        if mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(
                f"options['reset_mask'] must have shape ({self.num_envs},) and name a row, "
                f"got {mask}."
            )
        return torch.as_tensor(mask, device=self.dream.device)

    @torch.no_grad()
    def _decoded(self, state: State) -> np.ndarray:
        return to_numpy(self.single_observation_space, self.dream.world.decode(state))


class Interaction(NamedTuple):
    """What `interact` saw: the rows of data, and the return of every counted episode."""

    step: Step  # [B, T, ...]
    returns: Float[Tensor, " N"]  # undiscounted, ordered by row, then by time


def _vector(env: gym.Env | VectorEnv) -> VectorEnv:
    envs = env if isinstance(env, VectorEnv) else SyncVectorEnv([lambda: env])
    if envs.metadata.get("autoreset_mode") != AutoresetMode.NEXT_STEP:
        raise ValueError(
            f"The vector environment resets by {envs.metadata.get('autoreset_mode')}, but data "
            "needs AutoresetMode.NEXT_STEP (gymnasium's default): make it with that."
        )
    return envs


@torch.no_grad()
def stream(
    env: gym.Env | VectorEnv,
    world: World,
    policy: Policy,
    *,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[Step, Bool[Tensor, " B"]]]:
    """Rows of experience as they come, without end, and whether an episode ended in each (for good
    or by a time limit).

    Filters with `world.observe` and acts with `policy`, both as they are at that moment: they may
    learn between two rows. Nothing is asked of them for a row that is not taken.

    Args:
        env: one environment or a vector of B of them. A vector must reset in the step *after* an
            end (gymnasium's default): only there has every observation a row of its own.
        seed: of the environment's first reset. `generator` serves the world and the policy.
    """
    envs = _vector(env)
    batch, spec = envs.num_envs, world.spec
    state = world.initial(batch)
    device = next(iter(state.values())).device
    action, reward = torch.zeros(batch, spec.action_size), torch.zeros(batch)
    terminated, ended = torch.zeros(2, batch, dtype=torch.bool)
    first = ~ended

    observation, _ = envs.reset(seed=seed)
    while True:
        observation = to_tensor(spec.observation_space, observation)
        row = Step(*(v.to(device) for v in (observation, action, reward, first, terminated)))
        yield row, ended
        state = world.observe(state, row, generator=generator)
        chosen = to_numpy(spec.action_space, _checked(world, policy(state, generator), batch))
        observation, gain, died, cut, _ = envs.step(chosen)
        # Where the last row ended an episode, this one starts the next: the action was ignored.
        first, ended = ended, torch.tensor(died | cut)
        taken = to_tensor(spec.action_space, chosen).float().flatten(1)
        action = taken.masked_fill(first[:, None], 0.0)
        reward, terminated = torch.tensor(gain, dtype=torch.float32), torch.tensor(died)


def interact(
    env: gym.Env | VectorEnv,
    world: World,
    policy: Policy,
    *,
    steps: int | None = None,
    episodes: int | None = None,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> Interaction:
    """`Dream`'s twin in the real environment: filter with `world.observe`, act, record (`stream`).

    Give `steps` (T rows of data; counts the episodes that ended in them, so short ones are more
    likely to be counted) or `episodes` (goes on until every row has ended that many and counts just
    those: no such bias; needs an environment whose episodes end).
    """
    given = [n for n in (steps, episodes) if n is not None]
    if len(given) != 1 or given[0] < 1:
        raise ValueError(f"Give either steps or episodes, at least 1: got {steps=}, {episodes=}.")
    record: list[Step] = []
    for row, ended in stream(env, world, policy, seed=seed, generator=generator):
        if not record:
            total, returns = torch.zeros(len(ended), dtype=torch.float64), [[] for _ in ended]
        record.append(row)
        total += row.reward.cpu()
        for i in ended.nonzero().flatten().tolist():
            returns[i].append(total[i].item())
            total[i] = 0.0
        if len(record) == steps or (episodes and min(map(len, returns)) >= episodes):
            break

    counted = [value for episodes_of_row in returns for value in episodes_of_row[:episodes]]
    data = Step(*(torch.stack(column, 1) for column in zip(*record, strict=True)))
    return Interaction(data, torch.tensor(counted, dtype=torch.float32))
