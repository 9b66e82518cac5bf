"""Dream, DreamEnv, rollout, interact, frozen and the state helpers do what they promise."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tests.conformance import filtered, random_steps
from tests.counter import LINE, Counter, CounterEnv, always, bank, one_hot
from tests.gaussian import Gaussian
from utils.world import (
    Dream,
    DreamEnv,
    Spec,
    detach,
    frozen,
    interact,
    repeat,
    rollout,
    rows,
    stream,
    take,
    to_numpy,
    to_tensor,
    where,
)

torch.set_num_threads(1)


# ---- states and spaces


def test_state_helpers():
    state = {"a": torch.arange(6.0).view(3, 2), "b": torch.tensor([1, 2, 3])}
    other = {"a": -torch.ones(3, 2), "b": torch.tensor([7, 8, 9])}
    mixed = where(torch.tensor([True, False, True]), state, other)
    assert mixed["a"].tolist() == [[0, 1], [-1, -1], [4, 5]]
    assert mixed["b"].tolist() == [1, 8, 3]
    assert take(state, torch.tensor([2, 0]))["b"].tolist() == [3, 1]
    assert repeat(state, 2)["b"].tolist() == [1, 1, 2, 2, 3, 3]
    assert rows(state) == 3
    attached = {"a": torch.ones(1, requires_grad=True) * 2}
    assert not detach(attached)["a"].requires_grad


@pytest.mark.parametrize(
    ("space", "values"),
    [
        (Discrete(3), [2, 0, 1]),
        (Discrete(3, start=-1), [-1, 1, 0]),
        (Box(-1, 1, (2, 2)), np.linspace(-1, 1, 12).reshape(3, 2, 2)),
        (Box(0, 255, (2, 1), np.uint8), [[[0], [255]], [[7], [9]], [[1], [2]]]),
        (MultiBinary(2), [[0, 1], [1, 1], [0, 0]]),
    ],
    ids=str,
)
def test_spaces_go_there_and_back(space, values):
    values = np.asarray(values, space.dtype)
    tensor = to_tensor(space, values)
    back = to_numpy(space, tensor)
    assert back.dtype == space.dtype
    np.testing.assert_array_equal(back, values)
    assert all(space.contains(value) for value in back)
    if isinstance(space, Discrete):
        assert tensor.shape == (3, 3)
        assert tensor.dtype == torch.float32


def test_expected_values_become_members_of_the_space():
    assert to_numpy(
        Box(0, 255, (1,), np.uint8), torch.tensor([[300.0], [7.6], [-2.0]])
    ).tolist() == [
        [255],
        [8],
        [0],
    ]
    assert to_numpy(MultiBinary(2), torch.tensor([[0.4, 0.6]])).tolist() == [[0, 1]]
    assert to_numpy(Discrete(2, start=5), torch.tensor([[0.4, 0.6]])).tolist() == [6]


def test_tensors_share_no_memory_with_the_environment():
    buffer = np.zeros((2, 1), np.float32)
    tensor = to_tensor(LINE, buffer)
    buffer += 1
    assert tensor.sum() == 0


def test_wrong_values_and_spaces_are_refused():
    with pytest.raises(ValueError, match="outside Discrete"):
        to_tensor(Discrete(2), [0, 2])
    with pytest.raises(TypeError, match="flatten it"):
        to_tensor(Dict(), [0])
    with pytest.raises(TypeError, match="flatten it"):
        to_numpy(Dict(), torch.zeros(1))


def test_spec():
    assert Spec(LINE, Discrete(4)).action_size == 4
    assert Spec(LINE, Discrete(4)).discrete
    assert Spec(LINE, Box(-1, 1, (2, 3))).action_size == 6
    assert not Spec(LINE, Box(-1, 1, (2, 3))).discrete


# ---- rollout and frozen


def test_rollout_is_in_the_arrival_convention():
    seen = []

    def policy(state, generator):
        seen.append(state["x"].clone())
        return one_hot(1, 0)

    out = rollout(Counter(), bank(0.0, 5.0), policy, 3)
    assert torch.stack(seen, 1).tolist() == [[0, 1, 2], [5, 5, 5]]  # the start first
    assert out.state["x"].tolist() == [[1, 2, 3], [5, 5, 5]]
    assert out.reward.tolist() == [[1, 2, 3], [5, 5, 5]]
    assert out.cont.tolist() == [[1, 1, 0], [0, 0, 0]]
    assert out.action.argmax(-1).tolist() == [[1, 1, 1], [0, 0, 0]]


def test_rollout_follows_recorded_actions_and_reads_states():
    action = torch.stack([one_hot(1), one_hot(0), one_hot(1)], 1)
    world = Counter(parts=("observation",))
    out = rollout(world, bank(0.0), action, 2, read=world.decode)
    assert out.state.tolist() == [[[1.0], [1.0]]]
    assert out.reward is None
    assert out.cont is None
    assert out.action.shape == (1, 2, 2)


def test_rollout_samples_unless_it_takes_the_mode():
    world, action = Gaussian(), torch.stack([one_hot(0, 1)] * 3, 1)

    def play(seed, mode):
        generator = torch.Generator().manual_seed(seed)
        start = world.initial(2)
        return rollout(world, start, action, 3, generator=generator, mode=mode).state["stoch"]

    assert torch.equal(play(1, True), play(2, True))
    assert torch.equal(play(1, False), play(1, False))
    assert not torch.equal(play(1, False), play(2, False))


def test_rollout_names_what_is_wrong():
    with pytest.raises(ValueError, match=r"\[B, H, A\]"):
        rollout(Counter(), bank(0.0), torch.zeros(1, 2, 2), 3)
    with pytest.raises(ValueError, match=r"takes \[B, A\] = \(1, 2\)"):
        rollout(Counter(), bank(0.0), lambda state, generator: torch.zeros(1), 1)


def test_frozen_trains_the_policy_through_the_world_but_not_the_world():
    world = Gaussian()
    world.heads.bias.requires_grad_(False)  # must stay off afterwards
    actor = torch.nn.Linear(12, 2)
    start = take(filtered(world, random_steps(world.spec)), (slice(None), -1))
    with frozen(world):
        policy = lambda state, generator: actor(world.features(state)).softmax(-1)  # noqa: E731
        out = rollout(world, detach(start), policy, 3, generator=torch.Generator().manual_seed(0))
    out.reward.sum().backward()
    assert all(parameter.grad is None for parameter in world.parameters())
    assert actor.weight.grad.abs().sum() > 0
    assert [name for name, p in world.named_parameters() if not p.requires_grad] == ["heads.bias"]


def test_frozen_gives_the_parameters_back_after_an_error():
    world = Gaussian()

    def fail():
        with frozen(world, Counter()):
            assert not any(p.requires_grad for p in world.parameters())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert all(p.requires_grad for p in world.parameters())


# ---- Dream


def test_dream_ends_and_starts_over_row_by_row():
    dream = Dream(Counter(), bank(0.0), batch=2, limit=4, ends="threshold")
    states, ends = [], []
    for _ in range(4):
        outcome = dream.step(one_hot(1, 0))
        states.append((outcome.arrived["x"].tolist(), dream.state["x"].tolist()))
        ends.append((outcome.terminated.tolist(), outcome.truncated.tolist()))
    no = [False, False]
    assert states == [
        ([1, 0], [1, 0]),
        ([2, 0], [2, 0]),
        ([3, 0], [0, 0]),  # row 0 arrives in its end and stands in its next start
        ([1, 0], [1, 0]),
    ]
    assert ends == [(no, no), (no, no), ([True, False], no), (no, [False, True])]
    assert dream.age.tolist() == [1, 0]


def test_dream_samples_the_end_with_its_probability():
    dream = Dream(Counter(cont=0.75), bank(0.0), batch=4000, limit=10, seed=1)
    share = dream.step(one_hot(*[0] * 4000)).terminated.float().mean()
    assert abs(share - 0.25) < 0.03  # 4 standard errors
    certain = Dream(Counter(cont=0.75), bank(0.0), batch=50, limit=10, ends="threshold")
    assert not certain.step(one_hot(*[0] * 50)).terminated.any()


def test_dream_without_cont_or_reward_never_terminates():
    dream = Dream(Counter(parts=()), bank(9.0), batch=1, limit=2)
    first, second = dream.step(one_hot(1)), dream.step(one_hot(1))
    assert first.reward is None
    assert (first.terminated.item(), first.truncated.item()) == (False, False)
    assert (second.terminated.item(), second.truncated.item()) == (False, True)


def test_dream_draws_starts_from_the_whole_bank_and_repeats():
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed + len(runs))
        dream = Dream(Counter(cont=0.5), bank(0.0, 1.0, 2.0), batch=60, limit=3, seed=seed)
        starts = dream.state["x"].clone()
        runs.append((starts, *(dream.step(one_hot(*[0] * 60)).terminated for _ in range(3))))
    assert runs[0][0].unique().tolist() == [0, 1, 2]
    assert all(torch.equal(a, b) for a, b in zip(runs[0], runs[1], strict=True))
    assert not torch.equal(runs[0][0], runs[2][0])


def test_dream_keeps_no_graph_and_makes_no_inference_tensors():
    world = Gaussian()
    starts = take(filtered(world, random_steps(world.spec)), (slice(None), -1))
    dream = Dream(world, starts, batch=4, limit=3)
    assert not dream.state["deter"].requires_grad
    dream.step(one_hot(0, 1, 0, 1))
    assert not dream.state["deter"].requires_grad
    out = rollout(world, dream.state, lambda state, generator: one_hot(0, 1, 0, 1), 1)
    out.reward.sum().backward()  # a dream's state can start a trained roll-out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"starts": {}}, "bank of starts is empty"),
        ({"starts": {"x": torch.zeros(0)}}, "bank of starts is empty"),
        ({"batch": 0}, "at least 1"),
        ({"limit": 0}, "at least 1"),
        ({"ends": "never"}, "'sample' or 'threshold'"),
    ],
)
def test_dream_names_what_is_wrong(change, sentence):
    arguments = {"world": Counter(), "starts": bank(0.0), "batch": 1, "limit": 1, **change}
    with pytest.raises(ValueError, match=sentence):
        Dream(**arguments)


# ---- DreamEnv


def same_shape(a, b):
    """The same kinds of things with the same values, all the way down."""
    assert type(a) is type(b), (a, b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            same_shape(a[key], b[key])
    elif isinstance(a, tuple) or (isinstance(a, np.ndarray) and a.dtype == object):
        for x, y in zip(a, b, strict=True):
            same_shape(x, y)
    elif isinstance(a, np.ndarray):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b


def test_dream_env_is_the_sync_vector_env_of_its_twin():
    twin = SyncVectorEnv([CounterEnv] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    env = DreamEnv(Dream(Counter(), bank(0.0), batch=3, limit=4, ends="threshold"))
    for name in ("num_envs", "observation_space", "action_space"):
        assert getattr(env, name) == getattr(twin, name)
    assert env.single_observation_space == twin.single_observation_space
    assert env.single_action_space == twin.single_action_space
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    same_shape(env.reset(seed=1), twin.reset(seed=1))
    ended = 0
    for actions in np.random.default_rng(0).integers(0, 2, (40, 3)):
        mine, theirs = env.step(actions), twin.step(actions)
        same_shape(mine, theirs)
        assert env.observation_space.contains(mine[0])
        ended += "final_obs" in mine[4]
    assert ended > 5
    mask = np.array([False, True, False])
    reset = {"options": {"reset_mask": mask}}
    same_shape(env.reset(**reset), twin.reset(options={"reset_mask": mask}))
    same_shape(env.step(np.ones(3, np.int64)), twin.step(np.ones(3, np.int64)))


def test_dream_env_with_continuous_actions_and_images():
    image, push = Box(0, 255, (4, 4, 1), np.uint8), Box(-1, 1, (2,), np.float32)
    world = Gaussian(observation=image, action=push)
    starts = take(filtered(world, random_steps(world.spec)), (slice(None), -1))
    env = DreamEnv(Dream(world, starts, batch=2, limit=1))
    observation, _ = env.reset(seed=0)
    assert (observation.shape, observation.dtype) == ((2, 4, 4, 1), np.uint8)
    observation, reward, *_, infos = env.step(env.action_space.sample())
    assert reward.dtype == np.float64
    assert infos["final_obs"][0].dtype == np.uint8
    assert infos["_final_obs"].all()


def test_dream_env_repeats_a_seed():
    world = Gaussian()
    starts = {k: v.flatten(0, 1) for k, v in filtered(world, random_steps(world.spec)).items()}
    env = DreamEnv(Dream(world, starts, batch=3, limit=5))
    actions = np.random.default_rng(0).integers(0, 2, (12, 3))

    def play(seed):
        first, _ = env.reset(seed=seed)
        return np.concatenate([first[None], *([env.step(a)[0]] for a in actions)])

    once = play(7)
    np.testing.assert_array_equal(once, play(7))
    np.testing.assert_array_equal(once, play([7, 8, 9]))
    assert not np.array_equal(once, play(8))
    assert not np.array_equal(play(None), play(None))


def test_the_start_of_a_row_depends_on_its_own_seed():
    many = {"x": torch.arange(100.0)}
    env = DreamEnv(Dream(Counter(), many, batch=3, limit=5))
    first, _ = env.reset(seed=[4, 5, None])
    again, _ = env.reset(seed=[5, 4, None])
    assert (first[0], first[1]) == (again[1], again[0])
    after, _ = env.reset(
        seed=[None, 4, None], options={"reset_mask": np.array([False, True, False])}
    )
    np.testing.assert_array_equal(after[[0, 2]], again[[0, 2]])
    assert after[1] == first[0]


def test_a_seeded_reset_of_some_rows_leaves_the_noise_of_the_others_alone():
    env = DreamEnv(Dream(Counter(cont=0.5), bank(0.0), batch=2, limit=5))
    states = []
    for seed in (None, 3):
        env.reset(seed=0)
        env.reset(seed=seed, options={"reset_mask": np.array([True, False])})
        states.append(env.dream.generator.get_state())
    assert torch.equal(*states)


def test_dream_env_names_what_is_wrong():
    with pytest.raises(ValueError, match="no reward"):
        DreamEnv(Dream(Counter(parts=("observation",)), bank(0.0), 1, 1))
    with pytest.raises(ValueError, match="no observation"):
        DreamEnv(Dream(Counter(parts=("reward",)), bank(0.0), 1, 1))
    env = DreamEnv(Dream(Counter(), bank(0.0), 2, 1))
    with pytest.raises(ValueError, match="2 rows"):
        env.reset(seed=[1])
    with pytest.raises(ValueError, match="outside Discrete"):
        env.step([0, 2])
    for mask, error in (([True, False], TypeError), (np.zeros(2, bool), ValueError)):
        with pytest.raises(error, match="reset_mask"):
            env.reset(options={"reset_mask": mask})
    with pytest.raises(ValueError, match="reset_mask"):
        env.reset(options={"reset_mask": np.ones(3, bool)})
    with pytest.raises(TypeError, match="reset_mask"):
        env.reset(options={"reset_mask": np.ones(2)})


# ---- interact


def test_interact_records_the_arrival_convention():
    envs = SyncVectorEnv([CounterEnv, lambda: CounterEnv(end=9.0, limit=2)])
    seen = interact(envs, Counter(), always(1), steps=5)
    step = seen.step
    assert step.observation[..., 0].tolist() == [[0, 1, 2, 3, 0], [0, 1, 2, 0, 1]]
    assert step.reward.tolist() == [[0, 1, 2, 3, 0], [0, 1, 2, 0, 1]]
    assert step.first.int().tolist() == [[1, 0, 0, 0, 1], [1, 0, 0, 1, 0]]
    assert step.terminated.int().tolist() == [[0, 0, 0, 1, 0], [0, 0, 0, 0, 0]]  # a limit is none
    assert step.action[..., 1].tolist() == [[0, 1, 1, 1, 0], [0, 1, 1, 0, 1]]
    assert (step.action.sum(-1) == 1 - step.first.float()).all()
    assert seen.returns.tolist() == [6, 3]


def test_interact_counts_the_same_number_of_episodes_in_every_row():
    envs = SyncVectorEnv([CounterEnv, lambda: CounterEnv(end=1.0)])
    assert interact(envs, Counter(), always(1), episodes=2).returns.tolist() == [6, 6, 1, 1]


def test_interact_filters_with_the_world_and_acts_on_its_state():
    filtered_states = []

    def policy(state, generator):
        filtered_states.append(state["x"].item())
        return one_hot(1)

    seen = interact(CounterEnv(), Counter(), policy, episodes=1)
    assert filtered_states == [0, 1, 2]
    assert seen.step.observation.shape == (1, 4, 1)


def test_interact_carries_the_state_from_row_to_row():
    class Rows(Counter):
        def observe(self, state, step, **kwargs):
            return {"x": (state["x"] + 1).where(~step.first, 1.0)}

    seen = []

    def policy(state, generator):
        seen.append(state["x"].item())
        return one_hot(1)

    interact(CounterEnv(), Rows(), policy, steps=7)
    assert seen == [1, 2, 3, 4, 1, 2]  # four rows an episode, its last one included


def test_interact_plays_cartpole():
    """Pushing to the side the pole falls to balances it for about 40 steps, one side for 9."""

    class Direct(Counter):
        spec = Spec(gym.make("CartPole-v1").observation_space, Discrete(2))

        def __init__(self):
            pass

        def initial(self, batch):
            return {"x": torch.zeros(batch, 4)}

        def observe(self, state, step, **kwargs):
            return {"x": step.observation}

    def upright(state, generator):
        return to_tensor(Discrete(2), (state["x"][:, 2] > 0).long())

    envs = gym.make_vec("CartPole-v1", num_envs=4, vectorization_mode="sync")
    first, again = (interact(envs, Direct(), upright, episodes=2, seed=3) for _ in range(2))
    assert torch.equal(first.returns, again.returns)
    assert first.returns.shape == (8,)
    assert (
        first.returns.mean()
        > 30
        > 15
        > interact(envs, Direct(), always(1), episodes=2).returns.mean()
    )
    lengths = [(~first.step.first[i]).sum() for i in range(4)]
    assert first.step.reward.sum() == sum(lengths)  # one a step, none on a reset
    single = interact(gym.make("CartPole-v1"), Direct(), upright, steps=60, seed=3)
    assert single.step.observation.shape == (1, 60, 4)
    assert torch.equal(single.step.observation[0, :20], first.step.observation[0, :20])


def test_interact_with_a_recurrent_world_repeats():
    envs, world = gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync"), Gaussian()

    def policy(state, generator):
        return to_tensor(Discrete(2), (state["stoch"][:, 0] > 0).long())

    def play(seed):
        generator = torch.Generator().manual_seed(seed)
        return interact(envs, world, policy, steps=20, seed=0, generator=generator).step

    assert torch.equal(play(1).action, play(1).action)
    assert not torch.equal(play(1).action, play(2).action)


def test_a_stream_asks_for_nothing_before_it_is_needed():
    """So that a policy may learn between two rows; and `interact` is its record."""
    asked = []

    def policy(state, generator):
        asked.append(len(asked))
        return always(1)(state, generator)

    envs = SyncVectorEnv([CounterEnv, CounterEnv])
    going = stream(envs, Counter(), policy)
    taken = []
    for n in range(9):
        assert len(asked) == n - (n > 0)
        taken.append(next(going))
    rows_, ended = zip(*taken, strict=True)
    seen = interact(SyncVectorEnv([CounterEnv, CounterEnv]), Counter(), always(1), steps=9)
    for column, recorded in zip(zip(*rows_, strict=True), seen.step, strict=True):
        assert torch.equal(torch.stack(column, 1), recorded)
    ended = torch.stack(ended, 1)
    assert torch.equal(ended[:, :-1], seen.step.first[:, 1:])
    assert ended.sum() == len(seen.returns)


def test_interact_names_what_is_wrong():
    for wrong in ({}, {"steps": 1, "episodes": 1}, {"steps": 0}):
        with pytest.raises(ValueError, match="either steps or episodes"):
            interact(CounterEnv(), Counter(), always(1), **wrong)
    same_step = SyncVectorEnv([CounterEnv], autoreset_mode=AutoresetMode.SAME_STEP)
    with pytest.raises(ValueError, match="NEXT_STEP"):
        interact(same_step, Counter(), always(1), steps=3)
    with pytest.raises(ValueError, match=r"takes \[B, A\] = \(1, 2\)"):
        interact(CounterEnv(), Counter(), lambda state, generator: torch.ones(1), steps=3)
