"""Pendulum-v1 and CartPole-v1 with their velocities hidden, any number of them at once.

What a controller sees is where things are, not how fast they move, so one observation is not enough
to act on: the velocity must be remembered from the one before. Observations are about -1 to 1. The
reinforcement is pain, from -1 to 0: the pendulum's cost as a share of the worst, and -1 where the
pole falls (what gymnasium pays with `sutton_barto_reward=True`).

Shape key: B rows side by side, T time, O observation, A actions, S physical state, H picture size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from gymnasium.spaces import Box, Discrete
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import one_hot

from utils.data.cart_pole import EDGE, TILT, physics
from utils.data.pendulum import ExactPendulum
from utils.world import Spec, Step


class Pendulum:
    """Pendulum-v1. Sees (cos, sin) of the angle, 0 upright; an action of -1 to 1 is a share of the
    largest torque.

    Each action is held for two of gymnasium's steps (0.05 s each), so an episode of 200 steps is
    100 decisions. The pain of a decision is the mean of its two rewards, divided by 16.27.

    Args:
        visible: show the angular velocity too (1 is 8 rad/s): the control experiment.
    """

    hold, limit = 2, 100
    worst = math.pi**2 + 0.1 * 8**2 + 0.001 * 2**2  # the largest cost of a step

    def __init__(self, visible: bool = False) -> None:
        self.visible, self.exact = visible, ExactPendulum()
        self.spec = Spec(Box(-1, 1, (2 + visible,)), Box(-1, 1, (1,)), cont=False)

    def reset(self, batch: int, generator: torch.Generator | None = None) -> Float[Tensor, "B S"]:
        """Angle uniform in [-pi, pi], velocity in [-1, 1]; S = (angle, velocity)."""
        uniform = torch.rand(batch, 2, generator=generator) * 2 - 1
        return uniform * torch.tensor([math.pi, 1.0])

    def step(
        self, state: Float[Tensor, "B S"], action: Float[Tensor, "B A"]
    ) -> tuple[Float[Tensor, "B S"], Float[Tensor, " B"], Bool[Tensor, " B"]]:
        """One decision: the state after it, the pain, and that a pendulum never terminates."""
        before = {"angle": state[:, 0], "velocity": state[:, 1]}
        after, reward, _ = self.exact.imagine(before, action)
        pain = reward / (self.hold * self.worst)
        state = torch.stack([after["angle"], after["velocity"]], -1)
        return state, pain, torch.zeros_like(pain, dtype=torch.bool)

    def observe(self, state: Float[Tensor, "B S"]) -> Float[Tensor, "B O"]:
        """What the controller sees of it."""
        angle, velocity = state.unbind(-1)
        seen = [angle.cos(), angle.sin()] + [velocity / 8] * self.visible
        return torch.stack(seen, -1)

    def picture(self, observation: Float[Tensor, "B O"], size: int) -> Float[Tensor, "B H H"]:
        """Pictures, 1 where the rod is: of what was seen or of what was dreamt."""
        tip = 0.8 * torch.stack([observation[:, 1], observation[:, 0]], -1)
        return rods(torch.zeros_like(tip), tip, size)


class CartPole:
    """CartPole-v1. Sees the cart's place (1 is the edge, 2.4 m) and the pole's angle (1 is where it
    counts as fallen, 12 degrees); pushes left or right with 10 N.

    Beyond either the pain is -1 and the episode terminates. An episode is cut after 500 steps.

    Args:
        visible: show both velocities too (1 is 2 m/s or 2 rad/s): the control experiment.
    """

    hold, limit = 1, 500

    def __init__(self, visible: bool = False) -> None:
        self.visible = visible
        self.spec = Spec(Box(-2, 2, (2 + 2 * visible,)), Discrete(2))

    def reset(self, batch: int, generator: torch.Generator | None = None) -> Float[Tensor, "B S"]:
        """All four uniform in [-0.05, 0.05]; S = (place, its velocity, angle, its velocity)."""
        return torch.rand(batch, 4, generator=generator) * 0.1 - 0.05

    def step(
        self, state: Float[Tensor, "B S"], action: Float[Tensor, "B A"]
    ) -> tuple[Float[Tensor, "B S"], Float[Tensor, " B"], Bool[Tensor, " B"]]:
        """One step of 0.02 s: the state after it, the pain, and whether the pole has fallen.

        `action` is one-hot (left, right); shares in between push with a share of the force.
        """
        after = physics(state, action)
        fallen = (after[:, 0].abs() > EDGE) | (after[:, 2].abs() > TILT)
        return after, -fallen.float(), fallen

    def observe(self, state: Float[Tensor, "B S"]) -> Float[Tensor, "B O"]:
        """What the controller sees of it."""
        place, speed, angle, turn = state.unbind(-1)
        seen = [place / EDGE, angle / TILT] + [speed / 2, turn / 2] * self.visible
        return torch.stack(seen, -1)

    def picture(self, observation: Float[Tensor, "B O"], size: int) -> Float[Tensor, "B H H"]:
        """Pictures, 1 where cart and pole are: of what was seen or of what was dreamt. The pole is
        drawn leaning three times as far as it does, so that a lean is seen."""
        lean = 3 * TILT * observation[:, 1]
        cart = torch.stack([0.8 * observation[:, 0], torch.full_like(lean, -0.7)], -1)
        half, tip = torch.tensor([0.16, 0.0]), torch.stack([lean.sin(), lean.cos()], -1)
        return torch.maximum(
            rods(cart - half, cart + half, size, 0.09), rods(cart, cart + 1.2 * tip, size)
        )


class Babble:
    """A controller that tries anything: random actions, each held for `hold` decisions on average
    (a push that changes at every step moves a pendulum little)."""

    def __init__(self, spec: Spec, generator: torch.Generator, hold: float = 1.0) -> None:
        self.spec, self.generator, self.hold = spec, generator, hold

    def initial(self, batch: int) -> Float[Tensor, "B A"]:
        """The action that is being held: none."""
        return torch.zeros(batch, self.spec.action_size)

    def __call__(
        self, observation: Float[Tensor, "B O"], memory: Float[Tensor, "B A"]
    ) -> tuple[Float[Tensor, "B A"], Float[Tensor, "B A"]]:
        """Looks at nothing."""
        noise = torch.rand(len(memory), self.spec.action_size + 1, generator=self.generator)
        if self.spec.discrete:
            new = one_hot(noise[:, 1:].argmax(-1), self.spec.action_size).float()
        else:
            new = 2 * noise[:, 1:] - 1
        anew = (noise[:, :1] < 1 / self.hold) | (memory == 0).all(-1, keepdim=True)
        action = torch.where(anew, new, memory)
        return action, action

    def sample(
        self, output: Float[Tensor, "B A"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "B A"]:
        """It was drawn already."""
        return output


def rods(
    start: Float[Tensor, "B 2"], end: Float[Tensor, "B 2"], size: int, radius: float = 0.06
) -> Float[Tensor, "B H H"]:
    """Pictures of one thick line each, with soft edges; (x, y) from -1 to 1, y upwards."""
    grid = torch.linspace(-1, 1, size + 1, device=start.device)
    grid = (grid[1:] + grid[:-1]) / 2
    points = torch.stack(torch.meshgrid(grid, -grid, indexing="xy"), -1)  # [H, H, 2]
    along = (end - start)[:, None, None]
    offset = points - start[:, None, None]
    share = (offset * along).sum(-1) / along.square().sum(-1).clamp(min=1e-9)
    distance = (offset - share.clamp(0, 1)[..., None] * along).norm(dim=-1)
    edge = 1 / size  # half a pixel on either side
    return ((radius + edge - distance) / (2 * edge)).clamp(0, 1)


class Recording(NamedTuple):
    """What `record` saw, and what was hidden from the controller."""

    step: Step  # [B, T, ...]
    state: Float[Tensor, "B T S"]  # the physical state, for drawing and for probes only


@torch.no_grad()
def record(
    task: Pendulum | CartPole,
    controller,
    rows: int,
    steps: int,
    generator: torch.Generator | None = None,
    mode: bool = False,
) -> Recording:
    """Plays `rows` tasks side by side for `steps` rows of data each, in the arrival convention.

    `controller` has `initial(B) -> memory`, `forward(observation, memory) -> (output, memory)`,
    `action(output)` for its most likely action and `sample(output, generator)` for a drawn one.
    Its memory is wiped at each first row. After an end or the time limit the next row is the first
    of a new episode. `mode` takes the action in place of a sample.
    """
    state, memory = task.reset(rows, generator), controller.initial(rows)
    action, pain = torch.zeros(rows, task.spec.action_size), torch.zeros(rows)
    first, terminated = torch.ones(rows).bool(), torch.zeros(rows).bool()
    age, seen, states = torch.zeros(rows), [], []
    for _ in range(steps):
        observation = task.observe(state)
        seen.append(Step(observation, action, pain, first, terminated))
        states.append(state)
        memory = torch.where(first[:, None], controller.initial(rows), memory)
        output, memory = controller(observation, memory)
        chosen = controller.action(output) if mode else controller.sample(output, generator)
        if mode and task.spec.discrete:
            chosen = one_hot(chosen.argmax(-1), chosen.shape[-1]).float()
        over = terminated | (age >= task.limit)
        after, pain, terminated = task.step(state, chosen)
        state = torch.where(over[:, None], task.reset(rows, generator), after)
        first, terminated = over, terminated & ~over
        action, pain = chosen * ~over[:, None], pain * ~over
        age = torch.where(over, 0, age + 1)
    step = Step(*(torch.stack(column, 1) for column in zip(*seen, strict=True)))
    return Recording(step, torch.stack(states, 1))


def real_steps(step: Step) -> int:
    """How many decisions a recording took (times `task.hold`: steps of gymnasium's)."""
    return int((~step.first).sum())


def pain_rate(task: Pendulum | CartPole, controller, rows: int, seed: int = 0) -> float:
    """Mean pain of a step, as a cost of 0 or more, over `rows` stretches of a whole time limit.

    For the pole it is falls per step: 0.002 or less means that 500 steps pass without a fall.
    """
    generator = torch.Generator().manual_seed(seed)
    step, _ = record(task, controller, rows, task.limit + 1, generator, mode=True)
    return -(step.reward.sum() / (~step.first).sum()).item()


def windows(step: Step, batch: int, length: int, generator: torch.Generator | None = None) -> Step:
    """`batch` stretches of `length` rows, drawn uniformly; they may run over an episode's end."""
    rows, steps = step.reward.shape
    row = torch.randint(rows, (batch, 1), generator=generator)
    start = torch.randint(steps - length + 1, (batch, 1), generator=generator)
    return Step(*(v[row, start + torch.arange(length)] for v in step))


def joined(pieces: Sequence[Step]) -> Step:
    """Recordings of equal length, one below the other."""
    return Step(*(torch.cat(column) for column in zip(*pieces, strict=True)))
