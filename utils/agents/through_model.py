"""A controller that learns through the predictions of a frozen world model (lesson 1.2).

C is a small recurrent net. In the dream its actions go into M, M's reinforcement comes out, and the
error of that is propagated back through M to C's weights. Schmidhuber, FKI-126-90 (1990); Werbos,
Jordan, Munro, and Nguyen and Widrow did it with feed-forward nets before.

Shape key: B batch, W rows of context, H horizon, O observation, A actions, D units.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import one_hot

from utils.nn.gaussian import log_prob
from utils.nn.random import categorical, normal
from utils.nn.recurrent import GRU, SHARP
from utils.world import Spec, State, Step


class Controller(nn.Module):
    """C: observation and memory to an action, and the memory for the next one.

    Args:
        spec: the task's. Box actions (-1 to 1) are `tanh(output)`, discrete ones `softmax(output)`.
        units: D, of the recurrent cell. cell: its class, called as `cell(inputs, units)`.
        remembers: False wipes the memory before each step: the same net without memory.
        std: of the noise on Box actions when C explores, in the action's units.
    """

    def __init__(
        self,
        spec: Spec,
        units: int = 32,
        cell: type = GRU,
        remembers: bool = True,
        std: float = 0.15,
    ) -> None:
        nn.Module.__init__(self)
        self.spec, self.units, self.remembers = spec, units, remembers
        self.cell = cell(spec.observation_space.shape[0], units)
        self.out = nn.Linear(units, spec.action_size)
        nn.init.zeros_(self.out.weight)  # begins with no push, or with even chances
        nn.init.zeros_(self.out.bias)
        self.log_std = nn.Parameter(torch.tensor(math.log(std)))

    def initial(self, batch: int) -> Float[Tensor, "B D"]:
        """An empty memory."""
        return self.out.weight.new_zeros(batch, self.units)

    def forward(
        self, observation: Float[Tensor, "B O"], memory: Float[Tensor, "B D"]
    ) -> tuple[Float[Tensor, "B A"], Float[Tensor, "B D"]]:
        """One step: the output that `action`, `sample` and `log_prob` read, and the new memory."""
        if not self.remembers:
            memory = torch.zeros_like(memory)
        memory = self.cell(SHARP * observation, memory)
        return self.out(memory), memory

    def action(self, output: Float[Tensor, "B A"]) -> Float[Tensor, "B A"]:
        """The action in a dream, differentiable; probabilities if actions are discrete."""
        if self.spec.discrete:
            return output.softmax(-1)
        return output.tanh()

    def sample(
        self, output: Float[Tensor, "B A"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "B A"]:
        """An action to try in the world."""
        if self.spec.discrete:
            return one_hot(categorical(output, generator), self.spec.action_size).to(output)
        return normal(self.action(output), self.log_std.exp(), generator)

    def log_prob(
        self, output: Float[Tensor, "*B A"], action: Float[Tensor, "*B A"]
    ) -> Float[Tensor, "*B"]:
        """Log-probability (density) with which `sample` takes an action."""
        if self.spec.discrete:
            return (output.log_softmax(-1) * action).sum(-1)
        return log_prob(action, self.action(output), self.log_std).sum(-1)


def remembered(world, controller, context: Step) -> tuple[State, Float[Tensor, "B D"]]:
    """What M knows after W rows of a recording, and what C remembers before it sees the last."""
    batch, length = context.reward.shape
    state, memory = world.initial(batch), controller.initial(batch)
    for t in range(length):
        step = Step(*(v[:, t] for v in context))
        state = world.observe(state, step)
        memory = torch.where(step.first[:, None], controller.initial(batch), memory)
        if t < length - 1:
            _, memory = controller(step.observation, memory)
    return state, memory


def dream_cost(
    world,
    controller,
    state: State,
    memory: Float[Tensor, "B D"],
    horizon: int,
    desired: float = 0.0,
) -> Float[Tensor, "B H"]:
    """What C expects to suffer in `horizon` imagined steps: 1/2 (desired - R)^2 of each, [B, H].

    Each step: C sees `world.decode(state)` and its memory, and gives an output and its next
    memory, `output, memory = controller(observation, memory)`; `controller.action(output)` goes
    into `world.imagine(state, action)`; the reinforcement that M predicts is R. Nothing is
    detached: the gradient runs back through every step, through M's memory and C's own.
    """
    costs = []
    for _ in range(horizon):
        output, memory = controller(world.decode(state), memory)
        state, reinforcement, _ = world.imagine(state, controller.action(output))
        costs.append(0.5 * (desired - reinforcement).square())
    return torch.stack(costs, 1)
