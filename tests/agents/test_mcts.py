"""Searches are those of google-deepmind/mctx, and of a textbook search with Python nodes.

tests/fixtures/mctx_searches.npz holds inputs and outputs of mctx 0.0.71 (jax 0.10.2, CPU) on random
tables, written by tests/fixtures/make_mctx.py: see there for how. The other mctx_*.npz are single
cases of its functions at commit b53073f, see tests/fixtures/README.md. Where mctx is installed, new
seeds are compared too.
"""

import importlib.util
import math
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

from utils.agents import mcts_bench
from utils.agents.gumbel_mcts import completed_q, gumbel_muzero, halving_schedule, mixed_value
from utils.agents.mcts import (
    Reached,
    Root,
    add_root_noise,
    descend,
    muzero,
    normalise_by_node,
    normalise_by_tree,
    plant,
    puct,
    search,
)
from utils.agents.mcts_compiled import compiled, walk
from utils.agents.mcts_models import ChanceModel, WorldModel, stochastic_muzero
from utils.agents.mcts_reading import edges, principal_line
from utils.nn.random import dirichlet, gumbel
from utils.world import Dreamt, Spec

torch.set_num_threads(1)
FIXTURES = Path(__file__).parents[1] / "fixtures"
SEARCHES = np.load(FIXTURES / "mctx_searches.npz")
NUMBERS = sorted({int(key.split("/")[1]) for key in SEARCHES if key.startswith("config/")})


def by_whole_tree(tree):
    return puct(tree, normalise_by_tree)


class Tables:
    """A world of tables [S, A], by state and action; with codes, [S, C] by afterstate and code."""

    def __init__(self, tables: dict[str, np.ndarray], gamma: float = 1.0):
        t = {key: torch.as_tensor(value) for key, value in tables.items()}
        self.next, self.reward = t["next_state"].long(), t["reward"].float()
        self.cont = t["discount"].float() / gamma
        self.logits = t["logits" if "logits" in t else "prior_logits"].float()
        self.value = t["value"].float()
        if "afterstate" in t:
            self.after, self.after_value = t["afterstate"].long(), t["afterstate_value"].float()
            self.chance_logits = t["chance_logits"].float()
        states, actions = self.logits.shape
        self.spec = Spec(gym.spaces.Discrete(states), gym.spaces.Discrete(actions))

    def imagine(self, state, action, *, generator=None, mode=False):
        assert mode, "a search takes the mode"
        return self._step(state["cell"], action.argmax(-1))

    def chance(self, state, action):
        return self.chance_logits[state["cell"], action.argmax(-1)]

    def outcome(self, state, action, code):
        return self._step(self.after[state["cell"], action.argmax(-1)], code.argmax(-1))

    def _step(self, row, column):
        pair = row, column
        return Dreamt({"cell": self.next[pair]}, self.reward[pair], self.cont[pair])

    def predict(self, state):
        return self.logits[state["cell"]], self.value[state["cell"]]

    def afterstate(self, state, action):
        return self.after_value[state["cell"], action.argmax(-1)]


def found(policy, tables, start, legal, simulations, considered, codes, noise, gamma, **options):
    """Our decision for one case."""
    world = Tables(tables, gamma)
    start, legal = torch.as_tensor(start).long(), torch.as_tensor(legal).bool()
    noise = None if noise is None else torch.tensor(noise)
    players = 2 if gamma < 0 else 1
    fixed = (world, world.predict, abs(gamma), players)
    if policy.startswith("stochastic"):
        model = ChanceModel(*fixed, codes, world.afterstate)
        act, options = stochastic_muzero, {"legal": legal, "noise": noise, **options}
    else:
        model = WorldModel(*fixed)
        act, options = muzero, {"legal": legal, "noise": noise, **options}
    if policy.startswith("gumbel"):
        act, options = gumbel_muzero, {"legal": legal, "gumbel": noise, "considered": considered}
    return act(model.root({"cell": start}), model, simulations, **options)


def parents(tree):
    """Parent and action of every node, -1 where there is none."""
    batch, nodes, _ = tree.visits.shape
    parent, action = torch.full((2, batch, nodes), -1)
    for row in range(batch):
        for edge in edges(tree, row):
            parent[row, edge.child], action[row, edge.child] = edge.parent, edge.action
    return parent, action


def same(decision, out, actions):
    """Every number of mctx's output, from root to the last node."""
    tree = decision.tree
    parent, action = parents(tree)
    exactly = {
        "root_visits": tree.visits[:, 0, :actions],
        "node_visits": tree.node_visits,
        "parents": parent,
        "action_from_parent": action,
    }
    closely = {
        "node_values": tree.value,
        "root_q": tree.q[:, 0, :actions],
        "policy": decision.policy,
    }
    for name, ours in exactly.items():
        assert np.array_equal(ours.numpy(), out[name]), name
    for name, ours in closely.items():
        np.testing.assert_allclose(ours.numpy(), out[name], 1e-5, 2e-6, err_msg=name)
    compared = out["unique"]
    assert np.array_equal(decision.action.numpy()[compared], out["action"][compared])


def parts(arrays, number):
    for side in ("in", "out"):
        start = f"{number}/{side}/"
        yield {k.removeprefix(start): arrays[k] for k in arrays if k.startswith(start)}


def compare(policy, simulations, considered, codes, given, out):
    given = dict(given)
    start, legal, noise = given.pop("start"), given.pop("legal"), given.pop("noise", None)
    gamma = -0.97 if given["discount"].min() < 0 else 0.97
    sizes = (int(simulations), int(considered), int(codes))
    if policy.startswith("gumbel"):  # its action is unique always
        out = {**out, "unique": np.ones_like(out["unique"])}
    decision = found(policy, given, start, legal, *sizes, noise, gamma)
    same(decision, out, legal.shape[1])
    assert (decision.tree.visits[:, 0, : legal.shape[1]].numpy()[~legal] == 0).all()


@pytest.mark.parametrize("number", NUMBERS)
def test_searches_are_mctxs(number):
    compare(*SEARCHES[f"config/{number}"], *parts(SEARCHES, number))


@pytest.mark.skipif(not importlib.util.find_spec("mctx"), reason="mctx is not installed")
@pytest.mark.parametrize("policy", ["muzero_noise", "gumbel_noise", "stochastic"])
def test_searches_are_mctxs_on_new_seeds(policy):
    spec = importlib.util.spec_from_file_location("make_mctx", FIXTURES / "make_mctx.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    codes = 3 if policy == "stochastic" else 0
    first, compared = int(np.random.default_rng().integers(10**6)), 0
    for seed in range(first, first + 10):
        case = make.case(seed, policy, 8, 5, 40, 1 + seed % 2, True, 4, codes)
        if case is not None:
            case = {f"0/{k}": v for k, v in case.items()}
            compare(policy, 40, 4, codes, *parts(case, 0))
            compared += 1
    assert compared >= 5


@pytest.mark.parametrize("policy", ["muzero", "gumbel_muzero", "stochastic_muzero"])
def test_whole_trees_of_the_single_cases(policy):
    case = np.load(FIXTURES / f"mctx_{policy}_policy.npz")
    given, out = parts(case, "c0")
    given = dict(given)
    start = given.pop("root_state")
    actions = given["prior_logits"].shape[1]
    legal = given.pop("invalid_actions", np.zeros((len(start), actions))) == 0
    decision = found(policy, given, start, legal, 4, 16, 2, None, 1.0)
    tree = decision.tree
    exactly = {
        "root_visit_counts": tree.visits[:, 0, :actions],
        "tree_node_visits": tree.node_visits,
        "tree_parents": parents(tree)[0],
        "action": decision.action,
    }
    closely = {
        "root_value": tree.value[:, 0],
        "root_qvalues": tree.q[:, 0, :actions],
        "tree_node_values": tree.value,
        "action_weights": decision.policy,
    }
    for name, ours in exactly.items():
        assert np.array_equal(ours.numpy(), out[name]), name
    for name, ours in closely.items():
        np.testing.assert_allclose(ours.numpy(), out[name], 1e-5, 1e-6, err_msg=name)


def test_transforms_of_q_are_mctxs():
    given, out = parts(np.load(FIXTURES / "mctx_qtransforms.npz"), "c0")
    given = {k: torch.as_tensor(v).float() for k, v in given.items()}
    visits, prior = given["children_visits"], given["children_prior_logits"].softmax(-1)
    q = given["children_rewards"] + given["children_discounts"] * given["children_values"]
    ours = {
        "by_parent_and_siblings": normalise_by_node(q, visits, given["node_values"]),
        "mixed_value": mixed_value(given["raw_values"], q, visits, prior),
        "completed_by_mix_value": completed_q(given["raw_values"], q, visits, prior),
    }
    for name, value in ours.items():
        np.testing.assert_allclose(value.numpy(), out[name], 1e-5, 1e-5, err_msg=name)


def test_sequential_halving_is_a_schedule():
    case = np.load(FIXTURES / "mctx_seq_halving.npz")
    assert [halving_schedule(0, 5)] == case["m0_n5/out/table"].tolist()
    assert halving_schedule(4, 16) == [0] * 4 + [1] * 4 + [2, 2, 3, 3, 4, 4, 5, 5]
    assert halving_schedule(3, 4) == [0, 0, 0, 1]  # the budget ends before the rounds do
    for considered in range(2, 20):
        for simulations in (1, 7, 50, 200):
            assert len(halving_schedule(considered, simulations)) == simulations


# A textbook search: nodes are objects, one tree at a time, recursion


class Node:
    def __init__(self, model, state, logits, value, reward=0.0, discount=1.0):
        self.state, self.prior, self.children = state, logits.softmax(-1)[0].tolist(), {}
        self.reward, self.discount, self.returns = float(reward), float(discount), [float(value)]

    def value(self):
        return sum(self.returns) / len(self.returns)

    def q(self):
        """Of the edge that leads here."""
        return self.reward + self.discount * self.value()

    def all_q(self):
        below = [child.q() for child in self.children.values()]
        return below + [q for child in self.children.values() for q in child.all_q()]


def textbook_score(node, action, spread):
    n, child = len(node.returns), node.children.get(action)
    explore = node.prior[action] * math.sqrt(n) * (1.25 + math.log((n + 19652 + 1) / 19652))
    if child is None:
        return explore
    low, high = min(spread), max(spread)
    return explore / (1 + len(child.returns)) + (child.q() - low) / max(high - low, 1e-8)


def textbook_simulation(model, root, node, whole):
    """Adds one node below `node`; returns what was found, as seen from `node`."""
    spread = root.all_q() if whole else [node.value(), *(c.q() for c in node.children.values())]
    action = max(range(len(node.prior)), key=lambda a: textbook_score(node, a, spread))
    if action in node.children:
        child = node.children[action]
        back = textbook_simulation(model, root, child, whole)
    else:
        new = model(node.state, torch.tensor([action]))
        child = node.children[action] = Node(
            model, new.state, new.logits, new.value, new.reward, new.discount
        )
        back = child.value()
    back = child.reward + child.discount * back
    node.returns.append(back)
    return back


def random_tables(seed, states=12, actions=4, over=0.1, discount=0.97):
    rng = np.random.default_rng(seed)
    shape = (states, actions)
    return {
        "next_state": rng.integers(states, size=shape),
        "reward": rng.normal(size=shape),
        "discount": np.where(rng.random(shape) < over, 0.0, discount),
        "logits": rng.normal(size=shape),
        "value": rng.normal(size=states),
    }


@pytest.mark.parametrize("whole", [False, True], ids=["by node", "by tree"])
@pytest.mark.parametrize("players", [1, 2])
def test_the_batch_is_a_textbook_search_of_each_row(whole, players):
    tables = random_tables(players)
    world = Tables(tables)
    model = WorldModel(world, world.predict, 0.9, players)
    start = torch.arange(4)
    tree = search(model.root({"cell": start}), model, 40, score=by_whole_tree if whole else puct)
    for row in start.tolist():
        state = {"cell": start[row : row + 1]}
        root = Node(model, state, *world.predict(state))
        for _ in range(40):
            textbook_simulation(model, root, root, whole)
        visits = [len(root.children[a].returns) if a in root.children else 0 for a in range(4)]
        assert tree.visits[row, 0].tolist() == visits
        assert math.isclose(tree.value[row, 0], root.value(), abs_tol=1e-5)


def test_a_batch_is_its_rows():
    world = Tables(random_tables(5))
    model = WorldModel(world, world.predict, 0.9)
    together = search(model.root({"cell": torch.arange(3)}), model, 30)
    for row in range(3):
        alone = search(model.root({"cell": torch.tensor([row])}), model, 30)
        assert torch.equal(alone.child[0], together.child[row])
        assert torch.equal(alone.q[0], together.q[row])


@pytest.mark.parametrize("score", [puct, by_whole_tree], ids=["by node", "by tree"])
def test_an_affine_change_of_rewards_changes_no_visit(score):
    tables = random_tables(3, over=0.0, discount=1.0)
    scaled = {
        **tables,
        "reward": 40 * tables["reward"] + 7 * (1 - 0.9),
        "value": 40 * tables["value"] + 7,
    }
    visits = []
    for some in (tables, scaled):
        world = Tables(some)
        model = WorldModel(world, world.predict, 0.9)
        visits.append(search(model.root({"cell": torch.arange(12)}), model, 50, score).visits)
    assert torch.equal(*visits)


# Masks, noise, temperature


def bandit(rewards, logits=None) -> tuple[Root, WorldModel]:
    """One state, where every action ends the episode with a reward."""
    rewards = torch.tensor([rewards])
    world = Tables(
        {
            "next_state": torch.zeros_like(rewards),
            "reward": rewards,
            "discount": torch.zeros_like(rewards),
            "logits": torch.zeros_like(rewards) if logits is None else torch.tensor([logits]),
            "value": torch.zeros(1),
        }
    )
    model = WorldModel(world, world.predict, 1.0)
    return model.root({"cell": torch.zeros(1, dtype=torch.long)}), model


def test_illegal_actions_are_not_visited_even_if_they_are_the_best():
    root, model = bandit([0.0, 5.0, 1.0], [0.0, 30.0, 0.0])
    legal = torch.tensor([[True, False, True]])
    for decision in (
        muzero(root, model, 20, legal=legal, noise=dirichlet(torch.full((1, 3), 0.3))),
        gumbel_muzero(root, model, 20, legal=legal, gumbel=gumbel((1, 3), root.logits)),
    ):
        assert decision.tree.visits[0, 0, 1] == 0
        assert decision.policy[0, 1] == 0
        assert decision.policy.sum() == pytest.approx(1)
    assert muzero(root, model, 20, legal=legal).action.item() == 2
    assert gumbel_muzero(root, model, 20, legal=legal).action.item() == 2


def test_a_row_without_legal_actions_is_no_nan():
    root, model = bandit([0.0, 1.0])
    legal = torch.zeros(1, 2, dtype=torch.bool)
    for decision in (
        muzero(root, model, 4, legal=legal),
        gumbel_muzero(root, model, 4, legal=legal),
    ):
        for name in ("q", "value", "prior"):
            assert getattr(decision.tree, name).isfinite().all()


def test_inside_the_tree_a_logit_of_minus_infinity_rules_an_action_out():
    tables = random_tables(2)
    tables["logits"][:, 1] = -np.inf
    world = Tables(tables)
    model = WorldModel(world, world.predict, 0.9)
    root = model.root({"cell": torch.arange(12)})
    for decision in (muzero(root, model, 40), gumbel_muzero(root, model, 40)):
        assert decision.tree.visits[:, :, 1].sum() == 0
        assert decision.tree.q.isfinite().all()


def test_root_noise_is_mixed_into_probabilities():
    logits, noise = torch.tensor([[0.0, 2.0, -1.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    mixed = add_root_noise(logits, noise).exp()
    assert torch.allclose(mixed, 0.75 * logits.softmax(-1) + 0.25 * noise)


def test_without_noise_a_search_is_the_same_every_time():
    root, model = bandit([0.1, 0.2, 0.3])
    first, second = (muzero(root, model, 25) for _ in range(2))
    assert torch.equal(first.policy, second.policy)
    noisy = muzero(root, model, 25, noise=torch.tensor([[1.0, 0.0, 0.0]]))
    assert noisy.policy[0, 0] > first.policy[0, 0]


def test_temperature_draws_in_proportion_to_visits():
    root, model = bandit([0.0, 0.1, 0.2])
    policy = muzero(root, model, 10).policy
    rows = 4000
    many = Root(
        {"cell": root.state["cell"].repeat(rows)}, *(x.repeat_interleave(rows, 0) for x in root[1:])
    )
    generator = torch.Generator().manual_seed(0)
    for temperature in (1.0, 0.5):
        decision = muzero(many, model, 10, temperature=temperature, generator=generator)
        share = torch.bincount(decision.action, minlength=3) / rows
        expected = policy[0] ** (1 / temperature)
        assert torch.allclose(share, expected / expected.sum(), atol=0.03)


# Two players, chance


class TicTacToe:
    """The board as the player to move sees it: 1 own, -1 the other's. The mover wins: reward 1."""

    spec = Spec(gym.spaces.Box(-1, 1, (9,)), gym.spaces.Discrete(9))
    lines = torch.tensor(
        [[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6]]
    )

    def imagine(self, state, action, *, generator=None, mode=False):
        board = torch.where(state["over"][:, None], state["board"], state["board"] + action)
        won = (board[:, self.lines].sum(-1) == 3).any(1) & ~state["over"]
        over = state["over"] | won | (board != 0).all(1)
        return Dreamt({"board": -board, "over": over}, won.float(), (~over).float())

    def predict(self, state):
        """Knows the rules, and nothing else."""
        logits = torch.where(state["board"] == 0, 0.0, torch.finfo().min)
        return logits, torch.zeros(len(logits))


@pytest.mark.parametrize("act", [muzero, gumbel_muzero])
def test_two_players_win_in_one_and_prevent_a_loss_in_one(act):
    boards = {
        "win": ([1, 1, 0, -1, -1, 0, 0, 0, 0], 2),  # both threaten: the mover wins first
        "block": ([1, 0, 0, -1, -1, 0, 0, 0, 1], 5),
        "fork": ([-1, 0, 0, 0, 1, 0, 0, 0, -1], None),  # a corner would lose by force
    }
    game = TicTacToe()
    board = torch.tensor([b for b, _ in boards.values()]).float()
    model = WorldModel(game, game.predict, 1.0, players=2)
    root = model.root({"board": board, "over": torch.zeros(3, dtype=torch.bool)})
    decision = act(root, model, 200)
    assert decision.action[:2].tolist() == [2, 5]
    assert decision.action[2].item() in (1, 3, 5, 7)
    assert decision.tree.value[0, 0] > 0


class Coin:
    """Stay safe for 0.6, or gamble: a coin falls, one sees it, and names it for 1 or 0.

    States: 0 start, 1 heads, 2 tails, 3 over. Actions: 0 safe or heads, 1 gamble or tails. As
    `imagine` without chance: the gamble leads to one state (4) in which either name earns 1/2.
    """

    spec = Spec(gym.spaces.Discrete(5), gym.spaces.Discrete(2))

    def chance(self, state, action):
        gamble = (state["at"] == 0) & (action.argmax(-1) == 1)
        return torch.where(gamble[:, None], torch.tensor([0.0, 0.0]), torch.tensor([0.0, -50.0]))

    def outcome(self, state, action, code):
        at, action = state["at"], action.argmax(-1)
        seen = torch.where(code.argmax(-1) == 0, 1, 2)
        return self._step(at, action, torch.where((at == 0) & (action == 1), seen, 3))

    def imagine(self, state, action, *, generator=None, mode=False):
        at, action = state["at"], action.argmax(-1)
        return self._step(at, action, torch.where((at == 0) & (action == 1), 4, 3))

    def _step(self, at, action, to):
        named = ((at == 1) & (action == 0)) | ((at == 2) & (action == 1))
        reward = 0.6 * ((at == 0) & (action == 0)) + 1.0 * named + 0.5 * (at == 4)
        return Dreamt({"at": to}, reward, (to != 3).float())

    def predict(self, state):
        """Knows what every state is worth."""
        value = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.5])
        return torch.zeros(len(state["at"]), 2), value[state["at"]]


def test_chance_nodes_see_what_a_mean_does_not_and_a_sample_overrates():
    world, start = Coin(), {"at": torch.zeros(1, dtype=torch.long)}

    merged = WorldModel(world, world.predict, 1.0)
    decision = muzero(merged.root(start), merged, 50)
    assert decision.action.item() == 0
    assert decision.tree.q[0, 0].tolist() == pytest.approx([0.6, 0.5])

    chance = ChanceModel(world, world.predict, 1.0, codes=2)
    decision = stochastic_muzero(chance.root(start), chance, 200)
    assert decision.action.item() == 1
    assert decision.policy.sum() == pytest.approx(1)
    assert decision.tree.q[0, 0, 1] > 0.9  # 1 but for the wrong names that were tried
    outcomes = decision.tree.visits[0, decision.tree.child[0, 0, 1], 2:]
    assert (outcomes[0] - outcomes[1]).abs() <= 1  # half and half


def test_a_sampling_world_freezes_its_luck():
    """A lottery ticket of 1/10 for 1, or 0.3 for certain: a tree that drew once believes it."""

    def lottery(state, action):
        won = torch.rand(len(action), generator=generator) < 0.1
        reward = torch.where(action == 0, 0.3, won.float())
        zero = torch.zeros(len(action))
        return Reached(state, reward, zero, torch.zeros(len(action), 2), zero)

    generator = torch.Generator().manual_seed(0)
    rows = torch.zeros(1000)
    tree = search(Root({"at": rows}, torch.zeros(1000, 2), rows), lottery, 30)
    ticket = tree.q[:, 0, 1]
    assert 0.05 < (ticket == 1).float().mean() < 0.15  # certain to win
    assert ((ticket == 0) | (ticket == 1)).all()


def test_the_value_of_an_afterstate_is_its_expectation():
    world = Coin()

    def predict(state):
        return torch.zeros(len(state["at"]), 2), 2.0 * state["at"]

    model = ChanceModel(world, predict, 0.5, codes=2)
    state = {"at": torch.tensor([0, 0, 1])}
    action = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    # Safe: 0.6 and over. Gamble: half of the mean of 2 and 4. Named right: 1 and over.
    assert model.expected(state, action).tolist() == pytest.approx([0.6, 1.5, 1.0])


# What the search asks of the machine


@pytest.mark.parametrize("policy", ["muzero", "gumbel", "stochastic"])
def test_nothing_is_read_on_the_host(policy):
    """On the meta device a tensor has no value to read."""
    tables = {**random_tables(0), "afterstate": np.zeros((12, 4), int)}
    tables |= {"afterstate_value": np.zeros((12, 4)), "chance_logits": np.zeros((12, 4, 4))}
    world = Tables(tables)
    for name, value in vars(world).items():
        if isinstance(value, Tensor):
            setattr(world, name, value.to("meta"))
    kind = ChanceModel if policy == "stochastic" else WorldModel
    model = kind(world, world.predict, 0.9, **({"codes": 4} if kind is ChanceModel else {}))
    act = {"muzero": muzero, "gumbel": gumbel_muzero, "stochastic": stochastic_muzero}[policy]
    with torch.device("meta"):
        decision = act(model.root({"cell": torch.zeros(3).long()}), model, 5)
    assert decision.action.device.type == "meta"


@pytest.mark.parametrize("act", [muzero, gumbel_muzero])
def test_one_simulation_is_one_graph_that_does_the_same(act):
    """Without generating code, which takes too long here; the duel compares compiled trees."""
    world = Tables(random_tables(1))
    model, graphs = WorldModel(world, world.predict, 0.9), []

    def count(graph, _):
        graphs.append(graph)
        return graph.forward

    for rows in (3, 5):  # two graphs side by side, each for its own shape
        step, root = compiled(count), model.root({"cell": torch.arange(rows)})
        for start in (root, model.root({"cell": 11 - torch.arange(rows)})):
            whole, plain = act(start, model, 20, simulate=step), act(start, model, 20)
            assert torch.equal(whole.tree.child, plain.tree.child)
            assert torch.equal(whole.tree.q, plain.tree.q)
    assert len(graphs) == 2


def test_a_compiled_simulation_refuses_what_it_was_not_compiled_for():
    root, model = bandit([0.0, 1.0])
    step = compiled(lambda graph, _: graph.forward)
    search(root, model, 3, simulate=step)
    other, wider = bandit([0.0, 1.0])[1], bandit([0.0, 1.0, 2.0])[0]
    for attempt in (
        lambda: search(root, model, 4, simulate=step),
        lambda: search(wider, model, 3, simulate=step),
        lambda: search(root, other, 3, simulate=step),
        lambda: search(root, model, 3, by_whole_tree, simulate=step),
        lambda: gumbel_muzero(root, model, 3, simulate=step),
    ):
        with pytest.raises(ValueError, match=r"call compiled\(\) again"):
            attempt()


def test_walking_and_jumping_arrive_at_the_same_node():
    generator = torch.Generator().manual_seed(0)
    for nodes in (1, 2, 3, 9, 33, 40):
        below = torch.arange(nodes) + torch.randint(0, 3, (50, nodes), generator=generator)
        follow = below.clamp(max=nodes - 1)  # a child has a higher number, or there is none
        assert torch.equal(walk(follow), descend(follow))
    chain = torch.arange(1, 41)[None].clamp(max=39)
    assert walk(chain).item() == descend(chain).item() == 39


def test_searches_of_the_bench_run():
    for _, simulations, work in mcts_bench.works((2,), 4, backend="eager"):
        assert simulations == 8
        trees = [call() for call in work.calls.values()]
        assert torch.equal(*(tree.child for tree in trees))


# Reading


def test_a_tree_is_read_by_its_edges_and_its_principal_line():
    root, model = bandit([0.0, 1.0])
    tree = muzero(root, model, 6).tree
    found = edges(tree, 0)
    assert [edge.child for edge in found] == [1, 2, 3, 4, 5, 6]
    assert (found[0].parent, found[0].action) == (0, 0)  # equal scores: the first action
    assert sum(edge.visits for edge in found if edge.parent == 0) == 6
    best = next(edge for edge in found if (edge.parent, edge.action) == (0, 1))
    assert best.q == 1
    assert best.prior == 0.5
    actions, nodes = principal_line(tree, 8)
    assert actions[0, 0] == 1
    assert nodes[0, 0] == best.child
    length = int((nodes[0] >= 0).sum())
    assert (nodes[0, length:] == -1).all()
    assert (actions[0, length:] == -1).all()
    assert length < 8
    empty = plant(root, 3)
    assert principal_line(empty, 2)[1].tolist() == [[-1, -1]]
    assert edges(empty, 0) == []
