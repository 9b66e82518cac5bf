"""Finite worlds as tables of transitions, stepped for any number of agents at once.

A table is the ground truth of lesson 1.1: the mazes of Sutton & Barto (2nd ed., chapter 8) drawn as
text, and gymnasium's toy-text environments read from their own transition lists.

Shape key: B agents side by side (seeds), S states, A actions, K outcomes of a pair.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from utils.world import Step

MOVES = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}  # the order of actions

# S start, G goal, # wall, . free. Figure 8.2 of the book; its shortest path has 14 steps.
DYNA_MAZE = """
.......#G
..#....#.
S.#....#.
..#......
.....#...
.........
"""
# Figure 8.4: after 1,000 steps the gap on the right closes and one on the left opens.
BLOCKING_MAZE = (
    """
........G
.........
.........
########.
.........
...S.....
""",
    """
........G
.........
.........
.########
.........
...S.....
""",
)
# Figure 8.5: after 3,000 steps a second, shorter way opens on the right.
SHORTCUT_MAZE = (
    """
........G
.........
.........
.########
.........
...S.....
""",
    """
........G
.........
.........
.#######.
.........
...S.....
""",
)


@dataclass(frozen=True)
class Table:
    """A finite Markov decision process. Outcome k of the pair (s, a) comes with `probability[s, a,
    k]`; pairs with fewer than K outcomes are padded with probability 0. A final state leads to
    itself, with reward 0 and `terminated`. In a maze, state = row * columns + column."""

    next: Int[Tensor, "S A K"]
    probability: Float[Tensor, "S A K"]
    reward: Float[Tensor, "S A K"]
    terminated: Bool[Tensor, "S A K"]
    start: Float[Tensor, " S"]  # where episodes begin
    walls: Bool[Tensor, "rows columns"] | None = None  # mazes only, to draw them
    goals: Bool[Tensor, "rows columns"] | None = None

    @property
    def states(self) -> int:
        """S."""
        return self.next.shape[0]

    @property
    def actions(self) -> int:
        """A."""
        return self.next.shape[1]

    def to(self, device: torch.device | str) -> Table:
        """The same table on another device."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Table(**{k: v if v is None else v.to(device) for k, v in values.items()})

    def reset(self, noise: Float[Tensor, " B"]) -> Int[Tensor, " B"]:
        """First states of B episodes; `noise` is uniform in [0, 1)."""
        index = torch.searchsorted(self.start.cumsum(0), noise.contiguous(), right=True)
        return index.clamp(max=self.states - 1)

    def step(
        self,
        state: Int[Tensor, " B"],
        action: Int[Tensor, " B"],
        noise: Float[Tensor, " B"],
    ) -> tuple[Float[Tensor, " B"], Int[Tensor, " B"], Bool[Tensor, " B"]]:
        """One real step of B agents: reward, next state, terminated.

        `noise`, uniform in [0, 1), picks the outcome: the first whose cumulative probability
        exceeds it, as in gymnasium's toy-text environments.
        """
        below = self.probability[state, action].cumsum(-1) <= noise[:, None]
        outcome = below.sum(-1).clamp(max=self.next.shape[-1] - 1)
        pick = (state, action, outcome)
        return self.reward[pick], self.next[pick], self.terminated[pick]


def maze(picture: str, scale: int = 1) -> Table:
    """The table of a maze drawn as text: S start, G goals, # walls, . free cells.

    Four moves (`MOVES`); one that would leave the maze or enter a wall leads nowhere. Entering a
    goal gives reward 1 and ends the episode. At `scale` k every cell becomes k x k cells and the
    start is the upper left one of its block (the growing mazes of the book's example 8.4). An agent
    that stands where a wall has just been built can walk out of it.
    """
    drawn = torch.tensor([[ord(c) for c in line] for line in picture.split()])
    walls, goals, start = (
        (drawn == ord(c)).repeat_interleave(scale, 0).repeat_interleave(scale, 1) for c in "#GS"
    )
    rows, columns = walls.shape
    cell = torch.arange(rows * columns)
    moves = torch.tensor(list(MOVES.values()))
    row = (cell[:, None] // columns + moves[:, 0]).clamp(0, rows - 1)
    column = (cell[:, None] % columns + moves[:, 1]).clamp(0, columns - 1)
    blocked = walls[row, column] | goals.flatten()[:, None]  # nothing leads out of a goal
    arrived = torch.where(blocked, cell[:, None], row * columns + column)
    terminated = goals.flatten()[arrived]
    reward = (terminated & (arrived != cell[:, None])).float()
    return Table(
        next=arrived[..., None],
        probability=torch.ones_like(reward)[..., None],
        reward=reward[..., None],
        terminated=terminated[..., None],
        start=torch.eye(rows * columns)[start.flatten().nonzero()[0, 0]],
        walls=walls,
        goals=goals,
    )


def from_gymnasium(env) -> Table:
    """The table of a toy-text environment (FrozenLake, Taxi, CliffWalking), read from its
    transition lists `env.unwrapped.P[state][action] = [(probability, next, reward, ended), ...]`.
    Time limits are not part of it."""
    listed = env.unwrapped.P
    pairs = [[listed[s][a] for a in sorted(listed[s])] for s in sorted(listed)]
    outcomes = max(len(pair) for row in pairs for pair in row)
    padding = (0.0, 0, 0.0, False)
    padded = torch.tensor(
        [[pair + [padding] * (outcomes - len(pair)) for pair in row] for row in pairs],
        dtype=torch.float64,
    )
    probability, arrived, reward, terminated = padded.unbind(-1)
    return Table(
        next=arrived.long(),
        probability=probability.float(),
        reward=reward.float(),
        terminated=terminated.bool(),
        start=torch.as_tensor(env.unwrapped.initial_state_distrib).float(),
    )


def optimal_values(table: Table, gamma: float, tolerance: float = 1e-6) -> Float[Tensor, "S A"]:
    """Q* of the true table: Bellman's optimality equation, iterated in float64 until no value moves
    by more than `tolerance`."""
    probability, reward = table.probability.double(), table.reward.double()
    q, change = torch.zeros_like(reward[..., 0]), float("inf")
    while change > tolerance:
        value = q.amax(-1)[table.next].masked_fill(table.terminated, 0.0)
        better = (probability * (reward + gamma * value)).sum(-1)
        q, change = better, (better - q).abs().max().item()
    return q.float()


def fewest_steps(table: Table) -> Int[Tensor, " S"]:
    """Steps from each state to the end of the episode on a shortest path, by breadth-first search
    backwards from the end; -1 where no path leads there. Deterministic tables (K = 1)."""
    arrived, ended = table.next[..., 0], table.terminated[..., 0]
    own = torch.arange(table.states, device=ended.device)[:, None]
    final = (ended & (arrived == own)).all(-1)
    steps = torch.where(final, 0, -1)
    reached, distance = ended, 1
    while (found := reached.any(-1) & (steps < 0)).any():
        steps[found] = distance
        reached, distance = (steps >= 0)[arrived], distance + 1
    return steps


def record(table: Table, steps: int, agents: int, generator: torch.Generator) -> Step:
    """Data [B, T] of B agents that act at random, in the arrival convention; one-hot observations
    and actions. An episode that ends is followed by the first row of the next."""

    def draw() -> Float[Tensor, " B"]:
        return torch.rand(agents, generator=generator)

    state, first = table.reset(draw()), torch.ones(agents, dtype=torch.bool)
    nothing = torch.zeros(agents)
    rows = [Step(state, nothing.long(), nothing, first, ~first)]
    for _ in range(steps - 1):
        action = (draw() * table.actions).long()
        reward, arrived, terminated = table.step(state, action, draw())
        first = rows[-1].terminated  # nothing follows an end but a new beginning
        state = torch.where(first, table.reset(draw()), arrived)
        rows.append(Step(state, action, reward.masked_fill(first, 0.0), first, terminated & ~first))
    cells, action, reward, first, terminated = (torch.stack(x, 1) for x in zip(*rows, strict=True))
    action = one_hot(action, table.actions).float() * ~first[..., None]
    return Step(one_hot(cells, table.states).float(), action, reward, first, terminated)


def expected_outcome(
    table: Table, policy: Float[Tensor, "B S A"], horizon: int
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Expected undiscounted return and expected number of steps of an episode that B policies
    (probabilities of actions) start in the true table and that ends after `horizon` steps at the
    latest. Exact, by backward induction: no episode is sampled."""
    gain = (policy * (table.probability * table.reward).sum(-1)).sum(-1)  # [B, S]
    stays = table.probability.masked_fill(table.terminated, 0.0)  # [S, A, K]
    leads = (policy[..., None] * stays).flatten(2)  # [B, S, AK]: P(from s by way j), and goes on
    arrived = table.next.flatten()

    def ahead(after: Float[Tensor, "B S"]) -> Float[Tensor, "B S"]:
        return (leads * after.index_select(1, arrived).view_as(leads)).sum(-1)

    value = length = torch.zeros_like(gain)
    for _ in range(horizon):
        value, length = gain + ahead(value), 1 + ahead(length)
    return value @ table.start, length @ table.start
