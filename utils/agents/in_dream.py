"""Experience from a dream, in the form that an agent without a model learns from."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from utils.world import Dream, Policy, Step


def dream_rows(dream: Dream, policy: Policy, seen: Callable[[Tensor], Tensor]) -> Iterator[Step]:
    """Rows `[B, ...]` of a dream as `utils.world.stream` gives those of an environment, without
    end. The reward is the world's expectation.

    A dream that has ended goes on from a fresh start in the same step. The row in which it arrives
    from there is marked `first`: nothing is learned from the move that led there, and no return
    reaches across the border.

    Args:
        policy: acts on states that hold the `observation`, and may learn between two rows.
        seen: makes observations of what `decode` gives, so that dreams look as the game does.
    """
    world, none = dream.world, torch.zeros(dream.batch, device=dream.device)
    observation = seen(world.decode(dream.state))
    ended, action = torch.ones_like(none, dtype=torch.bool), None
    yield Step(observation, none[:, None].expand(-1, world.spec.action_size), none, ended, ~ended)
    ended = ~ended
    while True:
        action = policy({"observation": seen(world.decode(dream.state))}, dream.generator)
        outcome = dream.step(action)
        first, ended = ended, outcome.terminated | outcome.truncated
        yield Step(
            seen(world.decode(outcome.arrived)),
            action.masked_fill(first[:, None], 0.0),
            outcome.reward.masked_fill(first, 0.0),
            first,
            outcome.terminated & ~first,
        )
