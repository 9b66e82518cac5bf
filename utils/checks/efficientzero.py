"""Lesson 3.2: probes, named mistakes, right answers written differently, hints."""

from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import torch
from torch.nn import functional as F

from utils.agents import gumbel_mcts, reanalyse
from utils.course.exercise import Mistake, exercise
from utils.course.probes import gradient, normal, seeded
from utils.evaluate import statistics
from utils.world import Dreamt
from utils.worlds import efficientzero
from utils.worlds.muzero import Played, cross_entropy, n_step_targets, random_actions

LESSON = "3.2"
NO_GRADIENT = "what is detached is made of data, which has no gradient"
A, K, D, L, WIDTH = 3, 7, 5, 4, 6  # actions, unrolled steps, latent, memory, projection


def small_world(World, rng, **config):
    """With heads that say something: at the start they are zero."""
    torch.manual_seed(int(rng.integers(2**31)))
    sizes = {"latent": D, "units": 7, "support": 3, "memory": L, "projection": WIDTH}
    sizes = efficientzero.Config(**(sizes | config))
    world = World(gym.spaces.Box(-1.0, 1.0, (6,), np.float32), gym.spaces.Discrete(A), sizes)
    for head in (world.to_policy, world.to_value, world.to_reward[-1]):
        torch.nn.init.normal_(head.weight)
    return world


def played(rng, batch, rows):
    """Random windows in which episodes end, are cut, and go on."""
    first, terminated = torch.zeros(2, batch, rows, dtype=torch.bool)
    first[:, 0] = True
    for b in range(batch):
        last = int(rng.integers(1, rows + 2))  # of the first episode
        if last < rows:
            terminated[b, last] = bool(rng.random() < 0.5)
            first[b, last + 1 :] |= torch.arange(rows)[last + 1 :] == last + 1
    first[:2, 1:3] = terminated[:2, :2] = False
    terminated[0, 2], first[0, 3] = True, True  # one of each kind, whatever is drawn
    terminated[1, 2], first[1, 3] = False, True
    action = F.one_hot(torch.as_tensor(rng.integers(0, A, (batch, rows))), A).float()
    return Played(
        normal(rng, batch, rows, 6),
        action * ~first[..., None],
        normal(rng, batch, rows) * ~first,
        first,
        terminated,
        normal(rng, batch, rows, A).softmax(-1),
        normal(rng, batch, rows),
    )


# 3.2.1 ------------------------------------------------------------------------------------------


def consistency_by_cosine(self, imagined, seen):
    guess = self.predictor(self.projector(imagined))
    with torch.no_grad():
        target = self.projector(seen)
    return -F.cosine_similarity(guess, target, -1)


@exercise(
    "3.2.1",
    efficientzero.EfficientZero.consistency,
    points=3,
    difficulty=2,
    minutes=15,
    gradients=True,
    hints=(
        "Both sides go through the projector, only the imagined one through the predictor too.",
        "normalize(x, dim=-1) makes rows of length 1, and their product is the cosine; .detach() "
        "what was seen, after the projector.",
    ),
    mistakes=(
        Mistake(
            "the target learns too: without a stop both sides meet where every state is alike",
            "normalize(self.projector(seen), dim=-1).detach()",
            "normalize(self.projector(seen), dim=-1)",
        ),
        Mistake(
            "the gradient is stopped on the wrong side: the imagined state learns nothing",
            "(guess * normalize(self.projector(seen), dim=-1).detach())",
            "(guess.detach() * normalize(self.projector(seen), dim=-1))",
        ),
        Mistake(
            "what is seen is stopped before the projector, which then learns to make targets easy",
            "normalize(self.projector(seen), dim=-1).detach()",
            "normalize(self.projector(seen.detach()), dim=-1)",
        ),
        Mistake(
            "the predictor is missing",
            "self.predictor(self.projector(imagined))",
            "self.projector(imagined)",
        ),
        Mistake(
            "the target goes through the predictor too",
            "normalize(self.projector(seen), dim=-1)",
            "normalize(self.predictor(self.projector(seen)), dim=-1)",
        ),
        Mistake(
            "it is largest where the states agree: the sign", "return -(guess", "return (guess"
        ),
        Mistake(
            "it is a product, not a cosine: long vectors would pay",
            "normalize(self.projector(seen), dim=-1)",
            "self.projector(seen)",
        ),
    ),
    alternatives=(consistency_by_cosine,),
)
def _(World, rng):
    world = small_world(World, rng)
    imagined, seen = (normal(rng, 2, 3, D).requires_grad_() for _ in range(2))
    found = world.consistency(imagined, seen)
    return {
        "consistency": found,
        "consistency of 2 rows": world.consistency(imagined[0], seen[0]),
        "gradient of the imagined state": gradient(found, imagined),
        "gradient of what was seen": gradient(found, seen),
        "gradient of the projector": gradient(found, world.projector[-1].weight),
        "gradient of the predictor": gradient(found, world.predictor[-1].weight),
    }


# 3.2.2 ------------------------------------------------------------------------------------------


def prefix_targets_in_loops(self, reward, inside):
    result = torch.zeros_like(reward)
    for b in range(len(reward)):
        total = 0.0
        for k in range(reward.shape[1]):
            if k % self.config.horizon == 0:
                total = 0.0
            total = total + (reward[b, k] if inside[b, k] else 0.0)
            result[b, k] = total
    return result


@exercise(
    "3.2.2",
    efficientzero.EfficientZero.prefix_targets,
    points=2,
    difficulty=3,
    minutes=15,
    hints=(
        "One cumsum gives the sum from step 0 on. What has to be taken off after a new start?",
        "The prefix of step k began at step start = k - k % horizon. Take off the sum of all steps "
        "before that one: with a 0 put in front of the cumsum, it stands at index start.",
    ),
    mistakes=(
        Mistake(
            "rewards of the next episode are added after the end",
            "reward.masked_fill(~inside, 0.0)",
            "reward",
        ),
        Mistake("the sum never starts over", "return total - before", "return total"),
        Mistake(
            "it is the reward of each step, not a sum",
            "reward.masked_fill(~inside, 0.0).cumsum(1)",
            "reward.masked_fill(~inside, 0.0)",
        ),
        Mistake(
            "the first reward after a new start is lost",
            "torch.cat([torch.zeros_like(total[:, :1]), total], 1)[:, start]",
            "torch.cat([torch.zeros_like(total[:, :1]), total], 1)[:, start + (start > 0)]",
        ),
        Mistake(
            "the sum starts over one step late",
            "step - step % self.config.horizon",
            "((step - 1) - (step - 1) % self.config.horizon).clamp(min=0)",
        ),
    ),
    alternatives=(prefix_targets_in_loops,),
)
def _(World, rng):
    reward = normal(rng, 4, K)
    inside = torch.arange(K) < torch.as_tensor(rng.integers(1, K, (4, 1)))
    inside[0] = True
    found = {}
    for horizon in (1, 3, 5, K + 2):
        world = small_world(World, rng, horizon=horizon)
        found[f"prefix, horizon {horizon}"] = world.prefix_targets(reward, inside)
    return found


# 3.2.3 ------------------------------------------------------------------------------------------


IMAGINE = (
    "def imagine(self, state: State, action: Float[Tensor, 'B A'], *, "
    "generator: torch.Generator | None=None, mode: bool={})"
)


def imagine_by_where(self, state, action, *, generator=None, mode=False):
    memory = (state["hidden"], state["cell"])
    latent, logits, (hidden, cell) = self.step(state["latent"], action, memory)
    prefix = self.from_support(logits)
    over = state["age"] + 1 >= self.config.horizon
    kept = {"hidden": hidden, "cell": cell, "prefix": prefix, "age": state["age"] + 1}
    kept = {
        name: torch.where(over.view(-1, *[1] * (value.ndim - 1)), torch.zeros_like(value), value)
        for name, value in kept.items()
    }
    return Dreamt({"latent": latent, **kept}, prefix - state["prefix"], None)


@exercise(
    "3.2.3",
    efficientzero.EfficientZero.imagine,
    points=3,
    difficulty=3,
    minutes=20,
    gradients=True,
    hints=(
        "self.from_support turns logits into the sum so far. How much of it came in this step?",
        "reward = prefix - state['prefix']. Where the new age reaches config.horizon, multiply the "
        "four parts that start over by zero, after the reward was found.",
    ),
    mistakes=(
        Mistake(
            "the whole prefix is paid at every step: the reward is what it has grown by",
            'prefix - state["prefix"]',
            "prefix",
        ),
        Mistake(
            "the sign of the growth is turned",
            'prefix - state["prefix"]',
            'state["prefix"] - prefix',
        ),
        Mistake(
            "the prefix does not start over, so that the first reward after that is wrong",
            '"prefix": prefix * goes_on,',
            '"prefix": prefix,',
        ),
        Mistake(
            "the memory does not start over with the prefix",
            "hidden * goes_on[:, None]",
            "hidden",
        ),
        Mistake("the age does not start over", "age * goes_on", "age"),
        Mistake(
            "it starts over one step too late",
            "(age < self.config.horizon)",
            "(age <= self.config.horizon)",
        ),
        Mistake(
            "the latent state starts over too: only what the LSTM remembers does",
            '"latent": latent,',
            '"latent": latent * goes_on[:, None],',
        ),
    ),
    alternatives=(imagine_by_where,),
    equivalents={
        "goes_on = (age < self.config.horizon).to(prefix.dtype) -> "
        "goes_on = (age < self.config.horizon).to(prefix.dtype).detach()": "an age has no gradient",
        f"{IMAGINE.format('False')} -> {IMAGINE.format('True')}": "g is deterministic: a mode "
        "changes nothing",
    },
)
def _(World, rng):
    found = {}
    for horizon in (1, 2, 3):
        world = small_world(World, rng, horizon=horizon)
        start = normal(rng, 2, D).sigmoid().requires_grad_()
        state, age = world.rooted(start), torch.tensor([0.0, 1.0])
        # The second row is one step ahead of the first.
        state = {**state, "age": age.clamp(max=horizon - 1), "prefix": age.clamp(max=horizon - 1)}
        for k in range(3):
            action = F.one_hot(torch.as_tensor(rng.integers(0, A, 2)), A).float()
            state, reward, _ = world.imagine(state, action)
            found[f"reward of step {k + 1}, horizon {horizon}"] = reward
            for part in ("age", "prefix", "hidden", "cell", "latent"):
                found[f"{part} after step {k + 1}, horizon {horizon}"] = state[part]
        found[f"gradient of the start, horizon {horizon}"] = gradient(reward, start)
        later = state["hidden"].sum() + state["cell"].sum() + state["prefix"].sum()
        found[f"gradient through the memory, horizon {horizon}"] = gradient(later, start)
        found[f"gradient through the states, horizon {horizon}"] = gradient(
            state["latent"].square(), start
        )
    return found


# 3.2.4 ------------------------------------------------------------------------------------------


SEEN = "seen = self.represent(rows.observation[:, 1:].flatten(0, 1)).view_as(states[:, 1:])"


def loss_by_rows(self, rows, generator=None):
    batch, length = rows.reward.shape
    action = rows.action.clone()
    drawn = random_actions(rows.action, generator)
    sums = dict.fromkeys(("policy", "value", "prefix", "consistency"), torch.zeros(()))
    starts, imagined, kept = [], [], []
    for b in range(batch):
        others = [t for t in range(1, length) if rows.first[b, t]]
        stop = others[0] if others else length  # rows from here on belong to another episode
        ends = [t for t in range(stop) if rows.terminated[b, t]]
        over = ends[0] if ends else length + 1
        action[b, stop:] = drawn[b, stop:]
        latent = self.represent(rows.observation[b : b + 1, 0])
        starts.append(latent)
        policy, value, prefix, states = self.unroll(latent, action[b : b + 1, 1:])
        imagined.append(states[:, 1:])
        total = torch.zeros(())
        for t in range(length):
            weight = 1.0 if t == 0 else 1 / (length - 1)
            if t and (t - 1) % self.config.horizon == 0:
                total = torch.zeros(())
            if t and t < stop:
                total = total + rows.reward[b, t]
            if t >= stop and not ends:
                continue  # it was cut: nothing is known
            target = rows.value[b, t] if t < min(stop, over) else torch.zeros(())
            cost = self.misfit(value[0, t], self.to_support(target))
            sums["value"] = sums["value"] + weight * cost / batch
            if t < over:
                cost = cross_entropy(policy[0, t], rows.policy[b, t])
                sums["policy"] = sums["policy"] + weight * cost / batch
            if t:
                cost = self.misfit(prefix[0, t - 1], self.to_support(total))
                sums["prefix"] = sums["prefix"] + weight * cost / batch
            if t and t < stop:
                kept.append((b, t - 1))
    seen = torch.stack([self.represent(rows.observation[:, t]) for t in range(1, length)], 1)
    agreement = self.consistency(torch.cat(imagined), seen)
    sums["consistency"] = sum(agreement[b, k] for b, k in kept) / (length - 1) / batch
    loss = sums["policy"] + self.config.value_weight * sums["value"] + sums["prefix"]
    loss = loss + self.config.consistency * sums["consistency"]
    starts = self.rooted(torch.cat(starts).detach())
    return loss, {k: v.detach() for k, v in sums.items()}, starts


@exercise(
    "3.2.4",
    efficientzero.EfficientZero.loss,
    core=False,
    points=3,
    difficulty=4,
    minutes=20,
    bug="border",
    gradients=True,
    hints=(
        "Which rows of a window show something of the episode that row 0 belongs to?",
        "After an end the value is 0 and the prefix stands still, which can be learned. The next "
        "observation belongs to another episode: nothing the model did leads there.",
    ),
    mistakes=(
        Mistake(
            "after an end, imagined states are compared with those of the next episode",
            "counts[:, 1:] * inside[:, 1:] * agreement",
            "counts[:, 1:] * agreement",
            "border",
        ),
        Mistake(
            "rows after the end do not count at all",
            "(inside | over)",
            "inside",
        ),
        Mistake(
            "rows 1 to K count in full",
            "    counts[:, 1:] /= steps\n",
            "",
        ),
        Mistake(
            "states are compared with the observation before the action, one row early",
            "rows.observation[:, 1:].flatten(0, 1)",
            "rows.observation[:, :-1].flatten(0, 1)",
        ),
        Mistake(
            "the prefix goes on into the next episode",
            "self.prefix_targets(rows.reward[:, 1:], inside[:, 1:])",
            "self.prefix_targets(rows.reward[:, 1:], torch.ones_like(inside[:, 1:]))",
        ),
        Mistake(
            "consistency is weighed like everything else",
            "self.config.consistency * means",
            "means",
        ),
        Mistake(
            "after an end the value is taken from the next episode",
            "masked_fill(over | ~inside, 0.0)",
            "masked_fill(over & inside, 0.0)",
        ),
        Mistake(
            "the value costs a cross entropy, which is always 0 where `support` is 0",
            "self.misfit(value, value_target)",
            "cross_entropy(value, value_target)",
        ),
        Mistake(
            "the prefix costs a cross entropy, which is always 0 where `support` is 0",
            "self.misfit(prefix, prefix_target)",
            "cross_entropy(prefix, prefix_target)",
        ),
    ),
    alternatives=(loss_by_rows,),
    equivalents={
        f"{line} -> {changed}": reason
        for line, changed, reason in (
            (
                "inside = rows.first[:, 1:].cumsum(1) == 0",
                "inside = (rows.first[:, 1:].cumsum(1) == 0).detach()",
                NO_GRADIENT,
            ),
            (
                "over = (rows.terminated & inside).cumsum(1) > 0",
                "over = ((rows.terminated & inside).cumsum(1) > 0).detach()",
                NO_GRADIENT,
            ),
            *(
                (line, f"{line}.detach()", NO_GRADIENT)
                for line in (
                    "inside = torch.cat([torch.ones_like(inside[:, :1]), inside], 1)",
                    "counts = (inside | over).to(rows.reward.dtype)",
                    "action = torch.where(inside[..., None], rows.action, "
                    "random_actions(rows.action, generator))",
                    "value_target = self.to_support(rows.value.masked_fill(over | ~inside, 0.0))",
                    "prefix_target = self.to_support(self.prefix_targets(rows.reward[:, 1:], "
                    "inside[:, 1:]))",
                )
            ),
            (SEEN, f"{SEEN}.detach()", "the stop is in `consistency`: a second one is none"),
        )
    },
)
def _(World, rng):
    world, rows = small_world(World, rng, value_weight=0.3, horizon=3), played(rng, 5, K)
    loss, parts, starts = world.loss(rows, seeded(rng))
    world.zero_grad()
    loss.backward()
    names = ("policy", "value", "prefix", "consistency")
    found = {f"{name} loss": parts[name] for name in names}
    for name in ("representation", "dynamics", "prediction", "projector", "predictor"):
        found[f"gradient of the {name}"] = getattr(world, name)[0].weight.grad
    for name in ("to_policy", "to_value"):
        found[f"gradient of {name}"] = getattr(world, name).weight.grad
    found["gradient of to_reward"] = world.to_reward[-1].weight.grad
    kept = [*parts.values(), *starts.values()]
    found["parts and states cut off from the graph"] = torch.tensor(
        [float(not v.requires_grad) for v in kept]
    )
    world = small_world(World, rng, support=0)
    number, parts, _ = world.loss(rows, seeded(rng))
    found |= {f"{name} loss, support 0": parts[name] for name in ("value", "prefix")}
    found["gradient of to_value, support 0"] = gradient(number, world.to_value.weight)
    return {"loss": loss, **found, "states of row 0": starts["latent"]}


# 3.2.5 ------------------------------------------------------------------------------------------


def bootstrap_steps_one_by_one(age, longest, every):
    return torch.tensor([min(longest, max(1, longest - int(a) // every)) for a in age])


@exercise(
    "3.2.5",
    reanalyse.bootstrap_steps,
    points=1,
    difficulty=1,
    minutes=5,
    hints=(
        "How many whole times does `every` go into the age? // says so for tensors too.",
        "(longest - age // every).clamp(1, longest)",
    ),
    mistakes=(
        Mistake(
            "the fewest steps are 0: then nothing but the old value is left", "clamp(1,", "clamp(0,"
        ),
        Mistake("it is not bounded below, and becomes negative", ".clamp(1, longest)", ""),
        Mistake(
            "new rows bootstrap early, old ones late", "longest - age // every", "1 + age // every"
        ),
        Mistake(
            "the horizon shrinks one step of age too early",
            "age // every",
            "(age + 1) // every",
        ),
    ),
    alternatives=(bootstrap_steps_one_by_one,),
)
def _(bootstrap_steps, rng):
    age = torch.as_tensor(rng.integers(0, 100, 12))
    return {
        "steps, longest 5, every 10": bootstrap_steps(age, 5, 10),
        "steps, longest 3, every 40": bootstrap_steps(age, 3, 40),
        "steps of ages 0, 9, 10, 11, 400": bootstrap_steps(
            torch.tensor([0, 9, 10, 11, 400]), 5, 10
        ),
    }


# 3.2.6 ------------------------------------------------------------------------------------------


def corrected_targets_by_rows(rows, steps, longest, discount):
    length = rows.reward.shape[1] - longest
    result = []
    for b in range(len(steps)):
        one = Played(*(v[b : b + 1] for v in rows))
        result.append(n_step_targets(one, int(steps[b]), discount)[0, :length])
    return torch.stack(result)


@exercise(
    "3.2.6",
    reanalyse.corrected_targets,
    core=False,
    points=2,
    difficulty=3,
    minutes=15,
    hints=(
        "Make the targets for every n from 1 to longest, and pick for each window the one it asks "
        "for. A shorter n gives more rows: keep the first T - longest.",
        "torch.stack(each) is [longest, B, T - longest], n = 1 at index 0: [steps - 1, arange(B)].",
    ),
    mistakes=(
        Mistake(
            "n = 1 stands at index 0: one step too many is taken",
            "[steps - 1,",
            "[steps.clamp(max=longest - 1),",
        ),
        Mistake(
            "the last rows are kept, not the first",
            "n_step_targets(rows, n, discount)[:, :length]",
            "n_step_targets(rows, n, discount)[:, -length:]",
        ),
        Mistake(
            "every window gets the longest horizon",
            "[steps - 1,",
            "[0 * steps + longest - 1,",
        ),
        Mistake(
            "every window gets a single step",
            "[steps - 1,",
            "[0 * steps,",
        ),
    ),
    alternatives=(corrected_targets_by_rows,),
)
def _(corrected_targets, rng):
    rows = played(rng, 6, 9)
    steps = torch.as_tensor(rng.permutation([1, 2, 3, 4, 1, 4]))
    return {
        "targets": corrected_targets(rows, steps, 4, 0.9),
        "targets, two players": corrected_targets(rows, steps.clamp(max=3), 3, -0.9),
    }


# 3.2.7 ------------------------------------------------------------------------------------------


def reanalyse_by_index(memory, think, batch):
    recordings, rows = memory.value.shape
    places = [(n, t) for n in range(recordings) for t in range(rows)]
    for start in range(0, len(places), batch):
        index = tuple(torch.tensor(places[start : start + batch]).T)
        decision = think(memory.observation[index])
        memory.policy[index] = decision.policy
        memory.value[index] = decision.tree.value[:, 0]


@exercise(
    "3.2.7",
    reanalyse.reanalyse,
    points=3,
    difficulty=3,
    minutes=20,
    hints=(
        "Flatten the first two axes of the observations, split them into parts of `batch` rows, "
        "think about each part, and put the answers together again.",
        "The memory is changed in place: memory.policy.copy_(torch.cat(...).unflatten(0, shape)). "
        "The value of the root is decision.tree.value[:, 0].",
    ),
    mistakes=(
        Mistake(
            "rows are thought about one by one, not `batch` at a time",
            "observation.split(batch)",
            "observation.split(1)",
        ),
        Mistake(
            "the values are not written down",
            "memory.value.copy_(value.unflatten(0, shape))",
            "pass",
        ),
        Mistake(
            "the policies are not written down",
            "    memory.policy.copy_(policy.unflatten(0, shape))\n",
            "",
        ),
        Mistake(
            "the network's own value is stored, not what the search found",
            "decision.tree.value[:, 0]",
            "decision.tree.raw_value[:, 0]",
        ),
        Mistake(
            "rows of recordings are mixed up: one recording's rows stand together",
            "memory.value.copy_(value.unflatten(0, shape))",
            "memory.value.copy_(value.unflatten(0, shape[::-1]).T)",
        ),
    ),
    alternatives=(reanalyse_by_index,),
    equivalents={
        "memory.value.copy_(value.unflatten(0, shape)) -> "
        "memory.value.copy_(value.unflatten(-1, shape))": "values have a single axis",
    },
)
def _(reanalyse, rng):
    weights, asked = normal(rng, 6, A), []

    def think(observation):
        asked.append(len(observation))
        policy = (observation @ weights).softmax(-1)
        value = (observation @ weights).sum(-1, keepdim=True).expand(-1, 3)
        value = value * torch.tensor([1.0, 2.0, 3.0])
        tree = SimpleNamespace(value=value, raw_value=value + 1)
        return SimpleNamespace(policy=policy, tree=tree, action=policy.argmax(-1))

    found = {}
    for batch in (4, 5, 100):
        rows = played(rng, 3, 5)
        kept = [v.clone() for v in rows[:5]]
        reanalyse(rows, think, batch)
        found |= {
            f"policy, {batch} at a time": rows.policy,
            f"value, {batch} at a time": rows.value,
            f"all else the same, {batch} at a time": torch.tensor(
                [float(torch.equal(a, b)) for a, b in zip(rows[:5], kept, strict=True)]
            ),
        }
    return found | {"how many rows were thought about": torch.tensor(asked)}


# 3.2.8 ------------------------------------------------------------------------------------------


def completed_q_by_nodes(raw_value, q, visits, prior):
    result = torch.zeros_like(q)
    for index in np.ndindex(*raw_value.shape):
        seen = visits[index] > 0
        mixed = gumbel_mcts.mixed_value(raw_value[index], q[index], visits[index], prior[index])
        full = torch.where(seen, q[index], mixed)
        spread = (full.max() - full.min()).clamp(min=1e-8)
        result[index] = (50 + visits[index].max()) * 0.1 * (full - full.min()) / spread
    return result


@exercise(
    "3.2.8",
    gumbel_mcts.completed_q,
    core=False,
    points=2,
    difficulty=3,
    minutes=15,
    hints=(
        "First put mixed_value(...) where an edge was never tried. Then stretch, then multiply.",
        "(VISIT_OFFSET + visits.amax(-1, keepdim=True)) * VALUE_SCALE * (q - low) / (high - low)",
    ),
    mistakes=(
        Mistake(
            "edges that were never tried are worth 0", "torch.where(visits > 0, q, mixed)", "q"
        ),
        Mistake(
            "edges that were never tried are worth what the network says, whatever was found",
            "mixed_value(raw_value, q, visits, prior)[..., None]",
            "raw_value[..., None]",
        ),
        Mistake(
            "Q is not stretched to [0, 1]",
            "q = (q - low) / (high - low).clamp(min=1e-8)",
            "q = q - low",
        ),
        Mistake(
            "what was seen often counts no more: the largest visit count is missing",
            "VISIT_OFFSET + visits.amax(-1, keepdim=True)",
            "VISIT_OFFSET",
        ),
        Mistake(
            "all visits are counted, not those of the most visited edge",
            "visits.amax(-1, keepdim=True)",
            "visits.sum(-1, keepdim=True)",
        ),
        Mistake("c_scale is missing", " * VALUE_SCALE", ""),
        Mistake(
            "the range is that of the tried edges only",
            "low, high = q.amin(-1, keepdim=True), q.amax(-1, keepdim=True)",
            "low = torch.where(visits > 0, q, torch.inf).amin(-1, keepdim=True)\n"
            "    high = torch.where(visits > 0, q, -torch.inf).amax(-1, keepdim=True)",
        ),
    ),
    alternatives=(completed_q_by_nodes,),
    equivalents={
        "q = (q - low) / (high - low).clamp(min=1e-08) -> "
        "q = (q - low) / (high - low).clamp(min=1.1000000000000001e-08)": "how small a range "
        "still counts is not asked, only that an empty one gives 0",
    },
)
def _(completed_q, rng):
    prior = normal(rng, 3, 6, A + 1).softmax(-1)
    visits = torch.as_tensor(rng.integers(0, 4, (3, 6, A + 1)), dtype=torch.float32)
    visits[0, :2] = 0.0  # nothing was tried
    q, raw = 2 * normal(rng, 3, 6, A + 1) * (visits > 0), normal(rng, 3, 6)
    return {
        "completed Q": completed_q(raw, q, visits, prior),
        "completed Q, all tried": completed_q(raw, q + 3, visits + 1, prior),
        "completed Q of one node": completed_q(raw[0, 3], q[0, 3], visits[0, 3], prior[0, 3]),
    }


# 3.2.9 ------------------------------------------------------------------------------------------


BUDGETS = {"1": 1, "2": 2, "5": 5, "16": 16}


def halving_schedule_by_lists(considered, simulations):
    if considered <= 1:
        return list(range(simulations))
    rounds = int(np.ceil(np.log2(considered)))
    counts, schedule, left = dict.fromkeys(range(considered), 0), [], considered
    while len(schedule) < simulations:
        extra = max(1, int(simulations / (rounds * left)))
        for _ in range(extra):
            for a in range(left):
                schedule.append(counts[a])
            for a in range(left):
                counts[a] += 1
        left = max(2, left // 2)
    return schedule[:simulations]


@exercise(
    "3.2.9",
    gumbel_mcts.halving_schedule,
    core=False,
    points=3,
    difficulty=4,
    minutes=25,
    hints=(
        "Keep how often each considered action was visited. A turn visits all that are left once: "
        "it adds their counts to the schedule, and then one to each.",
        "rounds = (considered - 1).bit_length(); each round has max(1, simulations // (rounds * "
        "considered)) turns; then considered = max(2, considered // 2). Cut at the end.",
    ),
    mistakes=(
        Mistake(
            "a single action is left at the end: two stay",
            "max(2, considered // 2)",
            "max(1, considered // 2)",
        ),
        Mistake("nobody drops out", "considered = max(2, considered // 2)", "pass"),
        Mistake(
            "every round has one turn only: the budget is not shared among the rounds",
            "max(1, simulations // (rounds * considered))",
            "1",
        ),
        Mistake(
            "a round may have no turn at all",
            "max(1, simulations // (rounds * considered))",
            "max(considered == 2, simulations // (rounds * considered))",
        ),
        Mistake(
            "the schedule is longer than the budget",
            "return schedule[:simulations]",
            "return schedule",
        ),
        Mistake(
            "the number of rounds is rounded down",
            "(considered - 1).bit_length()",
            "(considered.bit_length() - 1)",
        ),
    ),
    alternatives=(halving_schedule_by_lists,),
    equivalents={
        "while len(schedule) < simulations: -> while len(schedule) <= simulations:": "what is more "
        "than the budget is cut off",
        "visits[:considered] = [n + 1 for n in visits[:considered]] -> "
        "visits[:] = [n + 1 for n in visits[:considered]]": "who has dropped out is never asked "
        "again",
    },
)
def _(halving_schedule, rng):
    # How long a schedule is stands first: lists of different lengths differ there.
    found = {}
    for considered in (1, 2, 3, 4, 5, 8, 16):
        for name, simulations in {**BUDGETS, "many": int(rng.integers(17, 60))}.items():
            schedule = halving_schedule(considered, simulations)
            what = f"{considered} actions, {name} simulations"
            found[f"length, {what}"] = torch.tensor(len(schedule))
            found[f"schedule, {what}"] = torch.tensor(schedule)
    return found


# 3.2.10 -----------------------------------------------------------------------------------------


def iqm_by_partition(values, axis=-1):
    values = np.moveaxis(np.asarray(values, np.float64), axis, -1)
    n = values.shape[-1]
    kept = np.sort(values, -1)[..., n // 4 : n - n // 4]
    return kept.sum(-1) / kept.shape[-1]


@exercise(
    "3.2.10",
    statistics.iqm,
    core=False,
    points=1,
    difficulty=1,
    minutes=5,
    hints=(
        "Sort along the axis; how many values are a quarter, rounded down?",
        "np.sort(values, axis).take(range(n // 4, n - n // 4), axis).mean(axis)",
    ),
    mistakes=(
        Mistake(
            "only the lowest quarter is left out", "range(n // 4, n - n // 4)", "range(n // 4, n)"
        ),
        Mistake(
            "only the highest quarter is left out",
            "range(n // 4, n - n // 4)",
            "range(0, n - n // 4)",
        ),
        Mistake(
            "the values are not sorted",
            "np.sort(np.asarray(values, np.float64), axis)",
            "np.asarray(values, np.float64)",
        ),
        Mistake("it is the mean of all", ".take(range(n // 4, n - n // 4), axis)", ""),
        Mistake(
            "it is the largest of the middle half, not their mean", ".mean(axis)", ".max(axis)"
        ),
    ),
    alternatives=(iqm_by_partition,),
)
def _(iqm, rng):
    values = rng.normal(size=(6, 9, 7))
    return {
        "IQM of 7": iqm(values),
        "IQM along axis 0": iqm(values, axis=0),
        "IQM along axis 1": iqm(values, 1),
        "IQM of 3": iqm(values[0, 0, :3]),
        "IQM of 5": iqm(values[0, 0, :5]),
    }
