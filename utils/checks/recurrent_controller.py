"""Lesson 1.2: probes, named mistakes, right answers written differently, hints."""

import torch
from gymnasium.spaces import Box, Discrete
from torch import nn

from utils.agents import curiosity, policy_gradient, through_model
from utils.course.exercise import Mistake, exercise
from utils.course.probes import normal
from utils.nn import gaussian, recurrent
from utils.world import Spec, Step, frozen
from utils.worlds import recurrent as worlds

LESSON = "1.2"
B, T, X, D = 3, 5, 4, 6  # rows, time, inputs, units of the probes
PUSHED = Spec(Box(-1, 1, (2,)), Box(-1, 1, (1,)), cont=False)
FALLING = Spec(Box(-2, 2, (3,)), Discrete(2))
NO_GRADIENT = "a mask has no gradient"


def randomised(module, rng, size=0.6):
    """Every parameter anew, so that the numbers depend on the seed and no bias is 0."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(size * normal(rng, *parameter.shape))
    return module


def gradients(result, **inputs):
    """The gradient of a weighted sum of a result with respect to each input; 0 where none flows."""
    if not result.requires_grad:
        return {f"gradient to {n}": torch.zeros_like(x) for n, x in inputs.items()}
    weights = torch.linspace(0.5, 1.5, result.numel()).view(result.shape)
    found = torch.autograd.grad((result * weights).sum(), list(inputs.values()), allow_unused=True)
    pairs = zip(inputs.items(), found, strict=True)
    return {f"gradient to {n}": torch.zeros_like(x) if g is None else g for (n, x), g in pairs}


def data(rng, spec, batch=B, time=T):
    """Random rows [B, T, ...] of a task; the second row of the batch starts over in the middle."""
    size = spec.observation_space.shape[0]
    first, terminated = torch.zeros(2, batch, time, dtype=torch.bool)
    first[:, 0] = first[1, 2] = terminated[1, 1] = True
    action = normal(rng, batch, time, spec.action_size)
    if spec.discrete:
        action = nn.functional.one_hot(action.argmax(-1), spec.action_size).float()
    action, reward = action * ~first[..., None], normal(rng, batch, time) * ~first
    return Step(normal(rng, batch, time, size), action, reward, first, terminated)


# 1.2.1 ------------------------------------------------------------------------------------------


def lstm_by_gates(self, x, hidden, cell):
    def gate(k):
        part = slice(k * self.units, (k + 1) * self.units)
        seen = x @ self.weight_ih[part].T + self.bias_ih[part]
        return seen + hidden @ self.weight_hh[part].T + self.bias_hh[part]

    kept = torch.sigmoid(gate(1)) * cell
    cell = kept + torch.sigmoid(gate(0)) * torch.tanh(gate(2))
    return torch.sigmoid(gate(3)) * torch.tanh(cell), cell


def lstm_of_torch(self, x, hidden, cell):
    theirs = nn.LSTMCell(x.shape[1], self.units)
    return torch.func.functional_call(theirs, dict(self.named_parameters()), (x, (hidden, cell)))


@exercise(
    "1.2.1",
    recurrent.LSTM.lstm_step,
    points=3,
    difficulty=2,
    minutes=20,
    gradients=True,
    hints=(
        "torch.nn.functional.linear(x, weight, bias) is x @ weight.T + bias. Two of them, added, "
        "give all four blocks at once: [B, 4D].",
        "i, f, g, o = blocks.chunk(4, 1). Three of them go through a sigmoid, g through tanh.",
        "cell = f.sigmoid() * cell + i.sigmoid() * g.tanh(); then return "
        "o.sigmoid() * cell.tanh(), cell.",
    ),
    mistakes=(
        Mistake(
            "the blocks are taken in another order; here it is i, f, g, o",
            "i, f, g, o = ",
            "f, i, g, o = ",
        ),
        Mistake("what is written is not squashed by tanh", "g.tanh()", "g"),
        Mistake(
            "what is written goes through a sigmoid, so that a cell can only grow",
            "g.tanh()",
            "g.sigmoid()",
        ),
        Mistake(
            "the hidden state shows the cell as it is; a tanh is missing", "cell.tanh()", "cell"
        ),
        Mistake(
            "input and forget gate are tied (1 - f); that is another cell",
            "i.sigmoid() * g.tanh()",
            "(1 - f.sigmoid()) * g.tanh()",
        ),
        Mistake("the bias of the memory's weights is left out", ", self.bias_hh", ""),
        Mistake(
            "the two results are swapped: first hidden, then cell",
            "return o.sigmoid() * cell.tanh(), cell",
            "return cell, o.sigmoid() * cell.tanh()",
        ),
        Mistake("the old cell is not kept: nothing is remembered", "f.sigmoid() * cell + ", ""),
    ),
    alternatives=(lstm_by_gates, lstm_of_torch),
)
def _(LSTM, rng):
    lstm, found = randomised(LSTM(X, D), rng), {}
    hidden, cell = normal(rng, B, D), normal(rng, B, D)
    x = normal(rng, 3, B, X).requires_grad_()
    for t in range(3):
        hidden, cell = lstm(x[t], hidden, cell)
        found |= {f"hidden after step {t}": hidden, f"cell after step {t}": cell}
    reached = {"x": x, **dict(lstm.named_parameters())}
    return found | gradients(hidden + 2 * cell, **reached)


# 1.2.2 ------------------------------------------------------------------------------------------


def gru_by_gates(self, x, hidden):
    seen = x @ self.weight_ih.T + self.bias_ih
    kept = hidden @ self.weight_hh.T + self.bias_hh
    both = torch.sigmoid((seen + kept)[:, : 2 * self.units])
    r, z = both[:, : self.units], both[:, self.units :]
    n = torch.tanh(seen[:, 2 * self.units :] + r * kept[:, 2 * self.units :])
    return n + z * (hidden - n)


def gru_of_torch(self, x, hidden):
    theirs = nn.GRUCell(x.shape[1], self.units)
    return torch.func.functional_call(theirs, dict(self.named_parameters()), (x, hidden))


@exercise(
    "1.2.2",
    recurrent.GRU.gru_step,
    core=False,
    points=2,
    difficulty=2,
    minutes=15,
    gradients=True,
    hints=(
        "Unlike in the LSTM, seen and kept stay apart: the reset gate weighs one of them only.",
        "chunk(3, 1) of both gives six blocks. r and z are sigmoids of sums.",
        "n = (seen_n + r * kept_n).tanh(); the new hidden is (1 - z) * n + z * hidden.",
    ),
    mistakes=(
        Mistake(
            "z and 1 - z are swapped; in PyTorch's form z = 1 keeps the old (the paper has it the "
            "other way round)",
            "return (1 - z) * n + z * hidden",
            "return z * n + (1 - z) * hidden",
        ),
        Mistake(
            "the reset gate weighs the memory before its matrix, as in the paper; here it weighs "
            "what the matrix made of it, bias included",
            "n = (seen_n + r * kept_n)",
            "n = (seen_n + linear(r * hidden, self.weight_hh, self.bias_hh).chunk(3, 1)[2])",
        ),
        Mistake(
            "the reset gate weighs the input too",
            "n = (seen_n + r * kept_n)",
            "n = (r * (seen_n + kept_n))",
        ),
        Mistake(
            "the blocks are taken in another order; here it is r, z, n",
            "seen_r, seen_z, seen_n = ",
            "seen_z, seen_r, seen_n = ",
        ),
        Mistake(
            "the reset gate is forgotten", "n = (seen_n + r * kept_n)", "n = (seen_n + kept_n)"
        ),
    ),
    alternatives=(gru_by_gates, gru_of_torch),
)
def _(GRU, rng):
    gru, found = randomised(GRU(X, D), rng), {}
    hidden, x = normal(rng, B, D), normal(rng, 3, B, X).requires_grad_()
    for t in range(3):
        hidden = gru(x[t], hidden)
        found[f"hidden after step {t}"] = hidden
    return found | gradients(hidden, x=x, **dict(gru.named_parameters()))


# 1.2.3 ------------------------------------------------------------------------------------------


def world_of(kind, spec, rng):
    """A world with random weights and with units that are not 1."""
    world = randomised(kind(spec, D), rng)
    world.change.copy_(0.1 + normal(rng, len(world.change)).abs())
    world.pain.fill_(float(rng.uniform(0.2, 0.8)))
    return world


def imagine_by_parts(self, state, action, *, generator=None, mode=False):
    place = state["observation"]
    size, sharp = place.shape[1], 4.0 * place
    hidden, cell = self.cell(torch.hstack([sharp, action]), state["hidden"], state["cell"])
    out = self.heads(torch.hstack([hidden, sharp]))
    moved = place + out[:, :size] * self.change
    alive = torch.sigmoid(out[:, -1]) if self.spec.cont else None
    state = {"hidden": hidden, "cell": cell, "observation": moved}
    return worlds.Dreamt(state, out[:, size] * self.pain, alive)


@exercise(
    "1.2.3",
    worlds.Recurrent.imagine,
    points=3,
    difficulty=3,
    minutes=25,
    gradients=True,
    hints=(
        "Two calls do the work: self.cell(inputs, hidden, cell) and self.heads(features). Both "
        "take tensors that torch.cat([...], -1) puts side by side.",
        "The last axis of out: the first O numbers are the change of the observation in units of "
        "self.change, the next the reinforcement in units of self.pain, the next (if there is one) "
        "the logit of cont.",
        'The new state is {"hidden": hidden, "cell": cell, "observation": x + self.change * '
        "out[:, :size]}; leave the old one as it is.",
    ),
    mistakes=(
        Mistake(
            "M predicts the next observation itself; out holds its change, in units of self.change",
            "x + self.change * out[:, :size]",
            "out[:, :size]",
        ),
        Mistake(
            "the units of the change are forgotten", "self.change * out[:, :size]", "out[:, :size]"
        ),
        Mistake("the units of the pain are forgotten", "self.pain * out[:, size]", "out[:, size]"),
        Mistake(
            "the old memory is kept in the new state, so that M forgets at once",
            '"hidden": hidden, "cell": cell',
            '"hidden": state["hidden"], "cell": state["cell"]',
        ),
        Mistake(
            "cont is a logit; a sigmoid makes it a probability",
            "out[:, size + 1].sigmoid()",
            "out[:, size + 1]",
        ),
        Mistake(
            "the inputs are not sharpened: SHARP * x goes into the cell and the heads",
            "seen = SHARP * x",
            "seen = x",
        ),
        Mistake(
            "the action comes first in the cell's input; it stands behind the observation",
            "torch.cat([seen, action], 1)",
            "torch.cat([action, seen], 1)",
        ),
        Mistake(
            "the action is not looked at",
            "torch.cat([seen, action], 1)",
            "torch.cat([seen, torch.zeros_like(action)], 1)",
        ),
        Mistake(
            "the gradient to the action is cut; C could learn nothing through M",
            "torch.cat([seen, action], 1)",
            "torch.cat([seen, action.detach()], 1)",
        ),
        Mistake(
            "the reinforcement is read from the first output; it stands behind the O changes",
            "self.pain * out[:, size]",
            "self.pain * out[:, 0]",
        ),
    ),
    alternatives=(imagine_by_parts,),
    equivalents={
        "def imagine(self, state: State, action: Float[Tensor, 'B A'], *, generator: "
        "torch.Generator | None=None, mode: bool=False) -> def imagine(self, state: State, action: "
        "Float[Tensor, 'B A'], *, generator: torch.Generator | None=None, mode: bool=True)": (
            "M samples nothing, so mode changes nothing"
        ),
    },
)
def _(Recurrent, rng):
    found = {}
    for name, spec in (("pendulum", PUSHED), ("pole", FALLING)):
        world = world_of(Recurrent, spec, rng)
        size = spec.observation_space.shape[0]
        state = {"hidden": normal(rng, B, D), "cell": normal(rng, B, D)}
        state |= {"observation": normal(rng, B, size).requires_grad_()}
        action = normal(rng, B, spec.action_size).requires_grad_()
        arrived, reward, cont = world.imagine(state, action)
        arrived, again, _ = world.imagine(arrived, -action)
        found |= {f"{key} of the {name}": arrived[key] for key in ("observation", "hidden", "cell")}
        found |= {f"reinforcement of the {name}": reward, f"the next, {name}": again}
        found[f"cont exists for the {name}"] = torch.tensor(cont is not None)
        if cont is not None:
            found[f"cont of the {name}"] = cont
        reached = {"the action": action, "the observation": state["observation"]}
        reached |= dict(world.heads.named_parameters())
        slopes = gradients(reward + again + arrived["observation"].sum(-1), **reached)
        found |= {f"{key}, {name}": value for key, value in slopes.items()}
    return found


# 1.2.4 ------------------------------------------------------------------------------------------


def loss_by_rows(self, batch, generator=None):
    length = batch.reward.shape[1]
    state = self.observe(self.initial(len(batch.reward)), Step(*(v[:, 0] for v in batch)))
    states, count, sums = [state], 0, {}
    for t in range(1, length):
        step = Step(*(v[:, t] for v in batch))
        after, reward, cont = self.imagine(state, step.action)
        keep = ~step.first
        error = ((after["observation"] - step.observation) / self.change) ** 2
        parts = {"observation": error.mean(-1), "pain": ((reward - step.reward) / self.pain) ** 2}
        if cont is not None:
            parts["cont"] = -torch.where(step.terminated, 1 - cont, cont).log()
        sums = {k: sums.get(k, 0) + v[keep].sum() for k, v in parts.items()}
        count = count + keep.sum()
        real = torch.full_like(step.first, t < self.given) | step.first
        seen = self.correct(after, step)
        state = {k: torch.where(real[:, None], seen[k], after[k]) for k in after}
        states.append(state)
    means = {k: v / count for k, v in sums.items()}
    total = torch.stack(list(means.values())).sum()
    means = {k: v.detach() for k, v in means.items()}
    starts = {k: torch.stack([s[k] for s in states], 1).flatten(0, 1).detach() for k in state}
    return total, means, starts


@exercise(
    "1.2.4",
    worlds.Recurrent.loss,
    bug="shifted",
    core=False,
    points=3,
    difficulty=4,
    minutes=25,
    gradients=True,
    hints=(
        "Write down for one prediction what it is made from and what it is compared with: which "
        "observation, which action, which row?",
        "In the arrival convention row t holds the action that led to row t.",
        "The row that is compared and the row whose action is imagined must be the same.",
    ),
    mistakes=(
        Mistake(
            "each prediction is made with the action that led to the row before; it must be the "
            "one that led to the row itself",
            "self.imagine(state, step.action)",
            "self.imagine(state, rows[t - 1].action)",
            "shifted",
        ),
        Mistake(
            "first rows count: M is asked to predict where the next episode starts",
            "inside = (~batch.first[:, 1:]).to(batch.reward.dtype)",
            "inside = torch.ones_like(batch.reward[:, 1:])",
        ),
        Mistake(
            "M's own predictions never come back in, whatever `given` says",
            "seen if t < self.given else where(step.first, seen, dreamt.state)",
            "seen",
        ),
        Mistake(
            "behind the given rows M dreams on through the border between two episodes",
            "where(step.first, seen, dreamt.state)",
            "dreamt.state",
        ),
        Mistake(
            "cont is compared with terminated; it is the probability of *not* having terminated",
            "1 - batch.terminated[:, 1:].to(cont.dtype)",
            "batch.terminated[:, 1:].to(cont.dtype)",
        ),
        Mistake(
            "the pain is compared with that of the row before",
            "(reward - batch.reward[:, 1:])",
            "(reward - batch.reward[:, :-1])",
        ),
        Mistake(
            "the states for later use still hang on the graph",
            "detach(stack(states))",
            "stack(states)",
        ),
    ),
    alternatives=(loss_by_rows,),
    equivalents={
        "inside = (~batch.first[:, 1:]).to(batch.reward.dtype) -> "
        "inside = (~batch.first[:, 1:]).to(batch.reward.dtype).detach()": NO_GRADIENT,
        "alive = 1 - batch.terminated[:, 1:].to(cont.dtype) -> "
        "alive = (1 - batch.terminated[:, 1:].to(cont.dtype)).detach()": NO_GRADIENT,
    },
)
def _(Recurrent, rng):
    found = {}
    for name, spec, given in (
        ("pendulum", PUSHED, 99),
        ("pole", FALLING, 99),
        ("alone", FALLING, 2),
    ):
        world, batch = world_of(Recurrent, spec, rng), data(rng, spec)
        world.given = given
        loss, metrics, starts = world.loss(batch)
        found[f"loss, {name}"] = loss
        found |= {f"{key}, {name}": value for key, value in metrics.items()}
        found |= {f"states: {key}, {name}": value for key, value in starts.items()}
        free = all(not v.requires_grad for v in (*starts.values(), *metrics.values()))
        found[f"states and parts are off the graph, {name}"] = torch.tensor(free)
        loss.backward()
        found[f"gradient to the cell, {name}"] = world.cell.weight_hh.grad
    return found


# 1.2.5 ------------------------------------------------------------------------------------------


def dream_cost_by_recursion(world, controller, state, memory, horizon, desired=0.0):
    if horizon == 0:
        return memory[:, :0]
    output, memory = controller(world.decode(state), memory)
    dreamt = world.imagine(state, controller.action(output))
    now = (dreamt.reward - desired) ** 2 / 2
    later = dream_cost_by_recursion(world, controller, dreamt.state, memory, horizon - 1, desired)
    return torch.cat([now[:, None], later], -1)


@exercise(
    "1.2.5",
    through_model.dream_cost,
    points=4,
    difficulty=3,
    minutes=30,
    gradients=True,
    hints=(
        "A loop over the horizon with two things that go on from step to step: the state of the "
        "world and the memory of C.",
        "In each step: look (world.decode), think (controller), act (controller.action), imagine. "
        "Keep 0.5 * (desired - reinforcement)^2 in a list.",
        "torch.stack(costs, 1) makes [B, H] of the list. Neither detach nor no_grad anywhere.",
    ),
    mistakes=(
        Mistake(
            "the gradient is cut at each step: an action is not blamed for what it led to later",
            "state, reinforcement, _ = world.imagine(state, controller.action(output))",
            "state, reinforcement, _ = world.imagine(state, controller.action(output))\n"
            "        state = {k: v.detach() for k, v in state.items()}",
        ),
        Mistake(
            "C's memory is not kept from step to step",
            "output, memory = controller(world.decode(state), memory)\n",
            "output, _ = controller(world.decode(state), memory)\n",
        ),
        Mistake(
            "C acts on its raw output; controller.action makes an action of it",
            "controller.action(output))\n",
            "output)\n",
        ),
        Mistake(
            "the action is detached, so that no gradient reaches C",
            "controller.action(output))\n",
            "controller.action(output).detach())\n",
        ),
        Mistake(
            "C acts on a sample; a dream takes controller.action, which can be differentiated",
            "controller.action(output))\n",
            "controller.sample(output))\n",
        ),
        Mistake("the half is missing", "0.5 * (desired", "(desired"),
        Mistake(
            "the reinforcement itself is the cost; it should be near `desired`, from either side",
            "0.5 * (desired - reinforcement).square()",
            "desired - reinforcement",
        ),
        Mistake(
            "C always sees the first observation; it must see what M dreams",
            "    costs = []\n    for _ in range(horizon):\n        output, memory = controller("
            "world.decode(state), memory)",
            "    costs, seen = [], world.decode(state)\n    for _ in range(horizon):\n"
            "        output, memory = controller(seen, memory)",
        ),
    ),
    alternatives=(dream_cost_by_recursion,),
)
def _(dream_cost, rng):
    found = {}
    for name, spec, desired in (("pendulum", PUSHED, 0.0), ("pole", FALLING, 0.4)):
        world = world_of(worlds.Recurrent, spec, rng)
        controller = randomised(through_model.Controller(spec, D), rng)
        size = spec.observation_space.shape[0]
        state = {"hidden": normal(rng, B, D), "cell": normal(rng, B, D)}
        state |= {"observation": 0.3 * normal(rng, B, size)}
        memory = normal(rng, B, D)
        with frozen(world):
            cost = dream_cost(world, controller, state, memory, T, desired)
            if cost.requires_grad:
                cost.mean().backward()
        found[f"cost, {name}"] = cost
        found[f"cost of one step, {name}"] = dream_cost(world, controller, state, memory, 1)
        for key in ("cell.weight_hh", "cell.weight_ih", "out.weight", "out.bias"):
            slope = controller.get_parameter(key).grad
            found[f"gradient to C's {key}, {name}"] = torch.zeros(1) if slope is None else slope
        touched = any(p.grad is not None for p in world.parameters())
        found[f"M is left alone, {name}"] = torch.tensor(not touched)
    return found


# 1.2.6 ------------------------------------------------------------------------------------------


def leave_one_out_by_rows(value):
    rows = range(len(value))
    others = [torch.stack([value[j] for j in rows if j != i]).mean(0) for i in rows]
    return torch.stack(others)


@exercise(
    "1.2.6",
    policy_gradient.leave_one_out,
    core=False,
    points=2,
    difficulty=2,
    minutes=10,
    hints=(
        "The sum over the others is the sum over all, less one's own.",
        "(value.sum(0) - value) / (B - 1): no loop is needed.",
    ),
    mistakes=(
        Mistake(
            "the mean is over all rows, one's own among them: then it depends on one's own action",
            "(value.sum(0) - value) / (len(value) - 1)",
            "value.mean(0, keepdim=True).expand_as(value)",
        ),
        Mistake(
            "the sum over the others is divided by B, and there are B - 1 of them",
            "(len(value) - 1)",
            "len(value)",
        ),
        Mistake(
            "the mean is over the other times of the same row; it must be over the other rows",
            "(value.sum(0) - value) / (len(value) - 1)",
            "(value.sum(1, keepdim=True) - value) / (value.shape[1] - 1)",
        ),
    ),
    alternatives=(leave_one_out_by_rows,),
)
def _(leave_one_out, rng):
    value = normal(rng, B + 1, T)
    return {"baseline": leave_one_out(value), "of two rows": leave_one_out(value[:2])}


# 1.2.7 ------------------------------------------------------------------------------------------


def reinforce_loss_by_rows(log_prob, value, baseline, acted):
    total, count = 0.0, 0
    for i, t in acted.nonzero().tolist():
        advantage = float(value[i, t]) - float(baseline[i, t])
        total, count = total - advantage * log_prob[i, t], count + 1
    return total / count


@exercise(
    "1.2.7",
    policy_gradient.reinforce_loss,
    points=3,
    difficulty=2,
    minutes=15,
    gradients=True,
    hints=(
        "An optimiser makes a loss small, and REINFORCE makes good actions likely: mind the sign.",
        "The advantage is a number that has happened: (value - baseline).detach().",
        "Multiply with `acted` before you sum, and divide by acted.sum(), not by the size.",
    ),
    mistakes=(
        Mistake(
            "the sign is wrong: bad actions become likely", "return -(log_prob", "return (log_prob"
        ),
        Mistake(
            "the baseline is added",
            "advantage = (value - baseline)",
            "advantage = (value + baseline)",
        ),
        Mistake(
            "the baseline is left out: right on average, but far noisier",
            "advantage = (value - baseline)",
            "advantage = value",
        ),
        Mistake(
            "gradients flow into value and baseline, which are numbers that have happened",
            ".detach()",
            "",
        ),
        Mistake("the sum is not divided by the number of rows that acted", " / acted.sum()", ""),
        Mistake("rows where nothing was done count", " * acted)", ")"),
        Mistake(
            "the mean is over all rows, also those that did not act", "acted.sum()", "acted.numel()"
        ),
        Mistake(
            "the probability of the action is weighed, not its logarithm",
            "(log_prob * advantage",
            "(log_prob.exp() * advantage",
        ),
    ),
    alternatives=(reinforce_loss_by_rows,),
    equivalents={
        "advantage = (value - baseline).detach() -> "
        "advantage = (value - baseline).detach().detach()": "once is enough",
    },
)
def _(reinforce_loss, rng):
    found, acted = {}, torch.as_tensor(rng.random((B, T)) < 0.6)
    acted[0, 0], acted[1, 1] = True, False
    log_prob = (-normal(rng, B, T).abs()).requires_grad_()
    value, baseline = normal(rng, B, T).requires_grad_(), normal(rng, B, T).requires_grad_()
    loss = reinforce_loss(log_prob, value, baseline, acted)
    found |= {"loss": loss}
    inputs = {"log_prob": log_prob, "value": value, "baseline": baseline}
    return found | gradients(loss, **inputs)


# 1.2.8 ------------------------------------------------------------------------------------------


def surprise_of_pairs(world, data):
    errors = torch.zeros(data.reward.shape)
    state = world.initial(len(data.reward))
    for t in range(data.reward.shape[1]):
        step = Step(*(v[:, t] for v in data))
        if t:
            guess = world.decode(world.imagine(state, step.action)[0])
            squares = (step.observation - guess) ** 2
            errors[:, t] = torch.where(step.first, 0.0, squares.sum(1) / squares.shape[1])
        state = world.observe(state, step)
    return errors


@exercise(
    "1.2.8",
    curiosity.surprise,
    core=False,
    points=3,
    difficulty=3,
    minutes=20,
    hints=(
        "Predict, compare, then look: imagine comes before observe for every row but row 0.",
        "Step(*(v[:, t] for v in data)) is row t. Row t's own action leads to it.",
        "masked_fill(step.first, 0.0) for rows that start an episode; stack the errors along 1.",
    ),
    mistakes=(
        Mistake(
            "the world is asked after it has seen the row, so that nothing surprises",
            "world.decode(world.imagine(state, step.action).state)",
            "world.decode(world.observe(state, step))",
        ),
        Mistake(
            "first rows surprise, though nobody could predict them",
            ".masked_fill(step.first, 0.0)",
            "",
        ),
        Mistake(
            "the world dreams on and never sees what really came",
            "state = world.observe(state, step)",
            "state = world.imagine(state, step.action).state",
        ),
        Mistake(
            "the errors are summed over the sensors; take their mean",
            ".square().mean(1)",
            ".square().sum(1)",
        ),
        Mistake("the errors keep their sign and cancel", ".square().mean(1)", ".mean(1)"),
    ),
    alternatives=(surprise_of_pairs,),
    equivalents={
        "errors = [torch.zeros_like(data.reward[:, 0])] -> "
        "errors = [torch.zeros_like(data.reward[:, 1])]": "only the shape is used",
        "errors = [torch.zeros_like(data.reward[:, 0])] -> "
        "errors = [torch.zeros_like(data.reward[:, -1])]": "only the shape is used",
    },
)
def _(surprise, rng):
    found = {}
    for name, spec in (("pendulum", PUSHED), ("pole", FALLING)):
        world, rows = world_of(worlds.Recurrent, spec, rng), data(rng, spec)
        found[f"surprise of the {name}"] = surprise(world, rows).detach()
    return found


# 1.2.9 ------------------------------------------------------------------------------------------


def kl_by_dimensions(mean, log_variance):
    total = 0.0
    for m, v in zip(mean.unbind(-1), log_variance.unbind(-1), strict=True):
        total = total - 0.5 * (1 + v - m**2 - torch.exp(v))
    return total


def kl_of_torch(mean, log_variance):
    ours = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    unit = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    return torch.distributions.kl_divergence(ours, unit).sum(-1)


@exercise(
    "1.2.9",
    gaussian.kl_to_unit,
    points=2,
    difficulty=2,
    minutes=15,
    gradients=True,
    hints=(
        "For one dimension: half of (variance + mean^2 - 1 - log variance). It is 0 exactly where "
        "mean = 0 and log variance = 0.",
        "exp(log_variance) is the variance. Sum over the last axis, and over no other.",
    ),
    mistakes=(
        Mistake(
            "log_variance is taken for the logarithm of the standard deviation",
            "log_variance.exp() + mean.square() - 1 - log_variance",
            "(2 * log_variance).exp() + mean.square() - 1 - 2 * log_variance",
        ),
        Mistake("the half is missing", "0.5 * (", "("),
        Mistake("the mean is not squared", "mean.square()", "mean"),
        Mistake(
            "the dimensions are averaged; for independent dimensions the KLs add up",
            ".sum(-1)",
            ".mean(-1)",
        ),
        Mistake("the sign is wrong: a KL is never negative", "0.5 * (", "-0.5 * ("),
        Mistake("all axes are summed; each row has a KL of its own", ".sum(-1)", ".sum()"),
        Mistake(
            "the 1 is forgotten, so that the unit Gaussian is not at distance 0",
            ".square() - 1",
            ".square()",
        ),
    ),
    alternatives=(kl_by_dimensions, kl_of_torch),
)
def _(kl_to_unit, rng):
    mean, log_variance = (
        normal(rng, 2, B, D).requires_grad_(),
        normal(rng, 2, B, D).requires_grad_(),
    )
    kl = kl_to_unit(mean, log_variance)
    found = {"KL": kl, "KL of the unit Gaussian": kl_to_unit(torch.zeros(B, D), torch.zeros(B, D))}
    return found | gradients(kl, mean=mean, log_variance=log_variance)
