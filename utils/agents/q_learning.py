"""Q-learning and planning with a learned model, for any number of agents at once (lesson 1.1).

Every function works on B agents (seeds) side by side: row b of a tensor belongs to agent b, and the
table of action values `q` is changed in place, as an optimiser changes parameters. Noise is an
argument, uniform in [0, 1). `model` is a `Tabular` or `Counts` of utils.worlds.tabular. Sources are
sections of Sutton & Barto, Reinforcement Learning, 2nd edition (2018).

Shape key: B agents (seeds), S states, A actions, K outcomes of a pair, N planning updates of each
agent, R runs, T updates of one run, V values to average.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def epsilon_greedy(
    q: Float[Tensor, "B S A"],
    state: Int[Tensor, " B"],
    epsilon: float,
    noise: Float[Tensor, "B A+1"],
) -> Int[Tensor, " B"]:
    """One action per agent: the best with probability 1 - epsilon, else any.

    An agent explores where the first column of `noise` is below epsilon. The other A columns give
    every action a lot: of the actions allowed (all of them when exploring, else those whose value
    is the largest of this state) the one with the largest lot is taken, so that ties are broken at
    random. Section 2.2.
    """
    rows = torch.arange(len(q), device=q.device)
    value = q[rows, state]  # [B, A]
    best = value == value.amax(-1, keepdim=True)
    explore = noise[:, :1] < epsilon
    return noise[:, 1:].masked_fill(~(best | explore), -1.0).argmax(-1)


def greedy_policy(q: Float[Tensor, "B S A"]) -> Float[Tensor, "B S A"]:
    """Probabilities of actions that are greedy in every state; ties share."""
    best = (q == q.amax(-1, keepdim=True)).to(q.dtype)
    return best / best.sum(-1, keepdim=True)


def q_update(
    q: Float[Tensor, "B S A"],
    state: Int[Tensor, " B"],
    action: Int[Tensor, " B"],
    reward: Float[Tensor, " B"],
    next_state: Int[Tensor, " B"],
    terminated: Bool[Tensor, " B"],
    alpha: float | Float[Tensor, " B"],
    gamma: float,
) -> Float[Tensor, " B"]:
    """One Q-learning update per agent, in place; returns the temporal-difference errors.

        error = R + gamma max_a Q(S', a) - Q(S, A)
        Q(S, A) <- Q(S, A) + alpha error

    Where `terminated`, nothing follows: the target is R alone, whatever the table says about S'.
    Only the entry (state, action) of each agent changes. The error is the one before the update
    (with alpha = 0 the table stays and the error is still returned). Section 6.5.
    """
    rows = torch.arange(len(q), device=q.device)
    future = q[rows, next_state].amax(-1).masked_fill(terminated, 0.0)
    value = q[rows, state, action]
    error = reward + gamma * future - value
    q[rows, state, action] = value + alpha * error
    return error


def plan(
    q: Float[Tensor, "B S A"],
    model,
    noise: Float[Tensor, "2 N B"],
    alpha: float,
    gamma: float,
) -> Int[Tensor, "N B"]:
    """Dyna-Q's planning: N Q-learning updates of every agent from imagined steps, in place.

    `model.draw` turns the first noise into N pairs that the agent has tried: state and action, each
    [N, B]. `model.predict(state, action, noise)` says with the second what follows them: reward,
    next state and terminated, each [N, B]. Then `q_update` is applied to one imagined step [B]
    after the other, so that each sees the values that the one before has left. Returns the states
    that were visited in imagination, [N, B]. Section 8.2, step (f).
    """
    state, action = model.draw(noise[0])
    imagined = model.predict(state, action, noise[1])
    for step in zip(state, action, *imagined, strict=True):
        q_update(q, *step, alpha, gamma)
    return state


def plan_curious(
    q: Float[Tensor, "B S A"],
    model,
    noise: Float[Tensor, "3 N B"],
    alpha: float,
    gamma: float,
    kappa: float,
) -> Int[Tensor, "N B"]:
    """Dyna-Q+'s planning: like `plan`, but curious about what was not tried for long.

    Two things differ. Any of the A actions is imagined in a state that was visited, tried or not:
    `model.draw` with the first noise gives the state, the second noise u the action floor(A u), the
    third what follows (of an untried pair the model says that it leads back to the same state with
    reward 0); all are [N, B]. And the imagined reward is `R + kappa sqrt(tau)`, where tau counts
    the real steps since the pair was last tried, `model.clock - model.last`; the agent's real
    update gets no such bonus. Returns the states that were visited in imagination, [N, B].
    Section 8.3.
    """
    rows = torch.arange(len(q), device=q.device)
    state, _ = model.draw(noise[0])
    action = (noise[1] * q.shape[-1]).long()
    reward, next_state, terminated = model.predict(state, action, noise[2])
    tau = model.clock - model.last[rows, state, action]
    reward = reward + kappa * tau.sqrt()
    for step in zip(state, action, reward, next_state, terminated, strict=True):
        q_update(q, *step, alpha, gamma)
    return state


def value_iteration(
    next_state: Int[Tensor, "B S A K"],
    probability: Float[Tensor, "B S A K"],
    reward: Float[Tensor, "B S A K"],
    terminated: Bool[Tensor, "B S A K"],
    gamma: float,
    sweeps: int,
) -> Float[Tensor, "B S A"]:
    """Action values of B learned models after `sweeps` expected updates of all pairs at once.

        Q(s, a) <- sum_k p_k (r_k + gamma max_a' Q(s'_k, a'))        from Q = 0

    The four tables are what `model.outcomes()` returns: outcome k of the pair (s, a) has
    probability p_k, reward r_k and next state s'_k. Behind a terminated outcome nothing follows.
    No real step is taken and nothing is drawn. Section 4.4, equation 4.10, in the model.
    """
    q = torch.zeros_like(reward[..., 0])
    for _ in range(sweeps):
        value = q.amax(-1)  # [B, S]
        future = value.gather(1, next_state.flatten(1)).view_as(reward)
        target = reward + gamma * future.masked_fill(terminated, 0.0)
        q = (probability * target).sum(-1)
    return q


def predecessor_priorities(
    q: Float[Tensor, "B S A"],
    model,
    state: Int[Tensor, " B"],
    gamma: float,
) -> Float[Tensor, "B S A"]:
    """How urgent an update of each pair is after the values of `state` have changed.

    A predecessor is a pair that was tried and that the agent's model says leads to `state` without
    ending the episode. Its priority is the size of the error its update would correct,

        P = |R + gamma max_a Q(state, a) - Q(s, a)|

    with the model's reward R of that pair. All other pairs get 0. Section 8.4.
    """
    rows = torch.arange(len(q), device=q.device)
    leads = model.tried & ~model.terminated & (model.next == state[:, None, None])
    value = q[rows, state].amax(-1)[:, None, None]
    return (model.reward + gamma * value - q).abs().masked_fill(~leads, 0.0)


def sweep(
    q: Float[Tensor, "B S A"],
    model,
    priority: Float[Tensor, "B S A"],
    alpha: float,
    gamma: float,
    theta: float,
) -> Bool[Tensor, " B"]:
    """One planning step of prioritised sweeping per agent, in place in `q` and `priority`.

    The queue is a table: a pair with priority 0 is not in it. The most urgent pair is taken out and
    updated from the (deterministic) model; then each predecessor of its state whose priority
    exceeds theta is put in, keeping the larger priority if it was there. Agents with an empty queue
    do nothing. Returns which agents made an update. Section 8.4.
    """
    rows = torch.arange(len(q), device=q.device)
    urgency, pair = priority.flatten(1).max(1)
    state, action = pair // q.shape[-1], pair % q.shape[-1]
    busy = urgency > 0
    pair = (rows, state, action)
    priority[pair] = 0.0
    imagined = (model.reward[pair], model.next[pair], model.terminated[pair])
    q_update(q, state, action, *imagined, alpha * busy, gamma)
    urgent = predecessor_priorities(q, model, state, gamma)
    queued = busy[:, None, None] & (urgent > theta)
    torch.maximum(priority, urgent.masked_fill(~queued, 0.0), out=priority)
    return busy


def update_errors(
    values: Float[Tensor, "R V"], draws: Int[Tensor, "R T"]
) -> tuple[Float[Tensor, " T"], Float[Tensor, " T"]]:
    """Root-mean-square error of one estimate after 1, 2, ..., T looks at a successor.

    The V successors of a pair are equally likely and have the given (right) values; the truth is
    their mean. A sample update looks at one successor, `values[r, draws[r, t]]`, and averages what
    it has seen so far (step size 1/t). An expected update needs all V of them: before look V its
    error is that of the first guess, 1; from look V on it is 0. Returns the errors of the sample
    updates (over the R runs) and of the expected update, both [T]. Section 8.5, figure 8.7: with
    unit variance the first is sqrt((V - 1) / (V t)).
    """
    looks = torch.arange(1, draws.shape[1] + 1, device=values.device)
    estimate = values.gather(1, draws).cumsum(1) / looks
    sample = (estimate - values.mean(1, keepdim=True)).square().mean(0).sqrt()
    expected = (looks < values.shape[1]).to(values.dtype)
    return sample, expected
