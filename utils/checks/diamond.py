"""Lesson 4.3: probes, named mistakes, right answers written differently, hints."""

import torch
from gymnasium.spaces import Discrete, MultiBinary
from torch import nn
from torch.nn import functional as F

from utils.course.exercise import Mistake, exercise
from utils.course.probes import normal
from utils.nn import edm
from utils.world import Dreamt
from utils.worlds import blob_video, diamond, diamond_net

LESSON = "4.3"
B, L, P, SIDE, A = 5, 3, 2, 4, 3  # rows, frames of context, channels, height and width, actions


# 4.3.1 ------------------------------------------------------------------------------------------


def precondition_by_angles(sigma, sigma_data):
    angle = torch.atan2(sigma, torch.full_like(sigma, sigma_data))
    return angle.cos() ** 2, sigma_data * angle.sin(), angle.cos() / sigma_data, 0.25 * sigma.log()


@exercise(
    "4.3.1",
    edm.precondition,
    points=2,
    difficulty=2,
    minutes=15,
    hints=(
        "sigma^2 + sigma_data^2, the variance of a noisy frame, stands in three of the four. Give "
        "it a name.",
        "Two of them have its root below the fraction, c_skip has not.",
        "total = sigma.square() + sigma_data**2; c_out is sigma * sigma_data / total.sqrt(), and "
        "c_noise is sigma.log() / 4.",
    ),
    mistakes=(
        Mistake(
            "the variance of the noise is left out of the total: input and target of the network "
            "would not have variance 1",
            "sigma.square() + sigma_data**2",
            "sigma_data**2 + 0 * sigma",
        ),
        Mistake(
            "the two deviations are added; variances add, deviations do not",
            "sigma.square() + sigma_data**2",
            "(sigma + sigma_data).square()",
        ),
        Mistake(
            "c_skip grows with the noise: where all is noise, it would let the noise through",
            "sigma_data**2 / total",
            "sigma.square() / total",
        ),
        Mistake("c_skip has a root", "sigma_data**2 / total", "sigma_data / total.sqrt()"),
        Mistake(
            "the root of c_out is left out",
            "sigma * sigma_data / total.sqrt()",
            "sigma * sigma_data / total",
        ),
        Mistake("the root of c_in is left out", "1 / total.sqrt()", "1 / total"),
        Mistake("the noise level is not divided by 4", "sigma.log() / 4", "sigma.log()"),
        Mistake("the network is told the level itself, not its logarithm", "sigma.log()", "sigma"),
    ),
    alternatives=(precondition_by_angles,),
)
def _(precondition, rng):
    sigma = torch.cat([normal(rng, 6).exp(), torch.tensor([0.002, 80.0])])
    names = ("c_skip", "c_out", "c_in", "c_noise")
    found = {}
    for sigma_data in (0.5, float(rng.uniform(0.2, 2))):
        values = precondition(sigma, sigma_data)
        found |= {f"{n}, data {sigma_data:.2f}": v for n, v in zip(names, values, strict=True)}
    return found


# 4.3.2 ------------------------------------------------------------------------------------------


class Linear(nn.Module):
    """A network of four numbers, which remembers what it was given."""

    def __init__(self, parameters):
        super().__init__()
        self.p = nn.Parameter(parameters)

    def forward(self, noisy, level, frames, actions):
        self.given = noisy, level, frames, actions
        level, actions = (v[:, None, None, None] for v in (level, actions.float().mean(1)))
        a, b, c, d = self.p
        return a * noisy + b * frames.mean(1) + c * level + d * actions


def loss_of_frames(self, frame, frames, actions, noise):
    """The same in the other form: the error of the denoised frame, in units of c_out."""
    c, (n_1, n_2, n_3) = self.config, noise
    sigma = torch.exp(c.level_mean + c.level_std * n_1).clip(c.level_low, c.level_high)
    noisy = frame + sigma.view(-1, 1, 1, 1) * n_2 + self.offset * n_3
    total = torch.hypot(sigma, torch.full_like(sigma, self.offset)).view(-1, 1, 1, 1)
    variance = total**2 + c.sigma_data**2
    net = self.net(noisy / variance**0.5, total.flatten().log() / 4, frames / c.sigma_data, actions)
    out = total * c.sigma_data / variance**0.5
    denoised = c.sigma_data**2 / variance * noisy + out * net
    changed = (frame - frames[:, -1]).abs() > 0.5
    weight = torch.where(changed, 1 + c.moving, 1.0)
    return (weight * ((denoised - frame) / out) ** 2).flatten(1).mean(1)


@exercise(
    "4.3.2",
    diamond.Denoiser.loss,
    points=3,
    difficulty=3,
    minutes=30,
    hints=(
        "Three parts: make the noisy frame; ask the network; compare with the target. A number for "
        "each row, [B], must be [B, 1, 1, 1] beside frames: sigma[:, None, None, None].",
        "precondition gets the deviation of all the noise, (sigma.square() + "
        "self.offset**2).sqrt(), while the pixels' own noise has the deviation sigma.",
        "guess = self.net(scale * noisy, level, frames / config.sigma_data, actions), where skip, "
        "out, scale, level = precondition(total, config.sigma_data).",
        "target = (frame - skip * noisy) / out; weight = 1 + config.moving * ((frame - "
        "frames[:, -1]).abs() > 0.5); the mean over axes (1, 2, 3) keeps one number for a row.",
    ),
    mistakes=(
        Mistake(
            "the noise level is not the exponential of the drawn number",
            ".exp()\n    sigma = sigma.clamp",
            "\n    sigma = sigma.clamp",
        ),
        Mistake(
            "noise levels are not clipped",
            "sigma.clamp(config.level_low, config.level_high)",
            "sigma",
        ),
        Mistake(
            "the noise is not scaled by its level",
            "sigma[:, None, None, None] * pixels",
            "pixels",
        ),
        Mistake(
            "the noise that a channel shares is scaled by sigma; its deviation is the offset alone",
            "self.offset * channels",
            "self.offset * sigma[:, None, None, None] * channels",
        ),
        Mistake(
            "the noise that a channel shares is left out",
            " + self.offset * channels",
            "",
        ),
        Mistake(
            "the coefficients are those of the pixels' own noise, without the offset",
            "(sigma.square() + self.offset**2).sqrt()",
            "sigma",
        ),
        Mistake(
            "the network sees the noisy frame unscaled; c_in is missing",
            "self.net(scale * noisy,",
            "self.net(noisy,",
        ),
        Mistake(
            "the network sees the clean frame: nothing is left to learn",
            "self.net(scale * noisy,",
            "self.net(scale * frame,",
        ),
        Mistake(
            "the context is not in units of sigma_data",
            "frames / config.sigma_data, actions)",
            "frames, actions)",
        ),
        Mistake(
            "the target is the clean frame; the network is asked for what c_skip leaves of it",
            "(frame - skip * noisy) / out)",
            "frame)",
        ),
        Mistake(
            "the target is not divided by c_out: its size would follow the noise level",
            "(frame - skip * noisy) / out)",
            "(frame - skip * noisy))",
        ),
        Mistake(
            "the change is measured against the oldest frame, not the last one",
            "(frame - frames[:, -1])",
            "(frame - frames[:, 0])",
        ),
        Mistake("errors where the frame has changed do not count more", "weight * error", "error"),
        Mistake(
            "it is one number for the whole batch; there should be one for each row",
            ".mean((1, 2, 3))",
            ".mean().expand(len(frame))",
        ),
    ),
    alternatives=(loss_of_frames,),
)
def _(Denoiser, rng):
    config = diamond.Config(
        **{"context": L, "sigma_data": float(rng.uniform(0.3, 0.8)), "moving": 7.0},
        **{"level_mean": float(rng.normal()) - 0.5, "level_std": float(rng.uniform(0.8, 1.5))},
        **{"level_low": 0.2, "level_high": 3.0, "offset": float(rng.uniform(0.2, 0.5))},
    )
    denoiser = Denoiser(Linear(0.5 * normal(rng, 4)), config)
    frames = normal(rng, B, L, P, SIDE, SIDE).clamp(-1, 1)
    frame = torch.where(normal(rng, B, P, SIDE, SIDE) > 0, frames[:, -1] + 0.1, -frames[:, -1])
    frame[0, 0, 0, :2] = frames[0, -1, 0, 0, :2] = 0.0
    frame[0, 0, 0, 0] = 0.5  # no change yet: it takes more than a half
    actions = torch.as_tensor(rng.integers(0, A + 1, (B, L)))
    noise = normal(rng, B), normal(rng, B, P, SIDE, SIDE), normal(rng, B, P, 1, 1)
    between = (0.5 - config.level_mean) / config.level_std  # a level of exp(0.5)
    noise[0][:3] = torch.tensor([-5.0, 5.0, between])  # the first two must be clipped
    loss = denoiser.loss(frame, frames, actions, noise)
    names = ("noisy frame", "noise level", "context", "actions")
    found = {f"{n} for the network": v for n, v in zip(names, denoiser.net.given, strict=True)}
    back = torch.autograd.grad((loss * normal(rng, B)).sum(), denoiser.net.p)[0]
    return found | {"loss": loss, "gradient of the network": back}


# 4.3.3 ------------------------------------------------------------------------------------------


def norm_by_hand(self, x, condition):
    batch, channels = x.shape[:2]
    grouped = x.reshape(batch, self.groups, -1)
    variance, mean = torch.var_mean(grouped, -1, correction=0, keepdim=True)
    x = ((grouped - mean) / (variance + 1e-5).sqrt()).reshape(x.shape)
    told = self.linear(condition).reshape(batch, 2, channels, 1, 1)
    return x + x * told[:, 0] + told[:, 1]


@exercise(
    "4.3.3",
    diamond_net.AdaGroupNorm.forward,
    points=2,
    difficulty=2,
    minutes=15,
    gradients=True,
    atol=1e-5,
    hints=(
        "F.group_norm(x, groups, eps=...) normalises without parameters of its own.",
        "self.linear(condition) is [B, 2 C]; [:, :, None, None] makes it [B, 2 C, 1, 1], and "
        ".chunk(2, 1) gives scale and shift.",
    ),
    mistakes=(
        Mistake(
            "the condition is the whole scale: a network that says 0 would silence every channel",
            "eps=1e-5) * (1 + scale)",
            "eps=1e-5) * scale",
        ),
        Mistake(
            "the shift is left out", "eps=1e-5) * (1 + scale) + shift", "eps=1e-5) * (1 + scale)"
        ),
        Mistake("scales come first, then shifts", "scale, shift = ", "shift, scale = "),
        Mistake(
            "scales and shifts are taken in turns; first come C scales, then C shifts",
            "self.linear(condition)[:, :, None, None].chunk(2, 1)",
            "self.linear(condition)[:, :, None, None].unflatten(1, (-1, 2)).unbind(2)",
        ),
        Mistake("x is not normalised", "F.group_norm(x, self.groups, eps=1e-5)", "x"),
        Mistake(
            "every channel is normalised by itself; groups of channels share mean and variance",
            "F.group_norm(x, self.groups, eps=1e-5)",
            "F.group_norm(x, x.shape[1], eps=1e-5)",
        ),
        Mistake(
            "all channels are normalised together, in one group",
            "F.group_norm(x, self.groups, eps=1e-5)",
            "F.group_norm(x, 1, eps=1e-5)",
        ),
        Mistake(
            "the shift is scaled too: it must be added after the scale",
            "* (1 + scale) + shift",
            "* (1 + scale) + shift * (1 + scale)",
        ),
    ),
    alternatives=(norm_by_hand,),
)
def _(AdaGroupNorm, rng):
    found = {}
    for channels, group in ((6, 2), (4, 8)):
        norm = AdaGroupNorm(channels, 5, group)
        with torch.no_grad():
            for parameter in norm.parameters():
                parameter.copy_(normal(rng, *parameter.shape))
        x = normal(rng, B, channels, SIDE, SIDE - 1)
        x[0] *= 1e-2  # an epsilon matters where the variance is small
        x.requires_grad_()
        condition = normal(rng, B, 5).requires_grad_()
        y = norm(x, condition)
        grads = torch.autograd.grad((y * normal(rng, *y.shape)).sum(), (x, condition))
        what = f"{channels} channels in groups of {group}"
        found |= {f"y, {what}": y, f"gradient of the condition, {what}": grads[1]}
        found[f"gradient of x, {what}"] = grads[0][1:]  # that of row 0 is large
    return found


# 4.3.4 ------------------------------------------------------------------------------------------


def levels_by_list(steps, sigma_min, sigma_max, rho):
    share = [i / (steps - 1) if steps > 1 else 0.0 for i in range(steps)]
    roots = [(1 - s) * sigma_max ** (1 / rho) + s * sigma_min ** (1 / rho) for s in share]
    return torch.tensor([root**rho for root in roots] + [0.0])


@exercise(
    "4.3.4",
    edm.noise_levels,
    core=False,
    points=1,
    difficulty=2,
    minutes=10,
    hints=(
        "Go from the 1/rho-th root of sigma_max to that of sigma_min in equal steps, and take each "
        "to the power rho.",
        "torch.linspace(0, 1, steps) has the shares i / (N - 1), and 0 if there is one step; "
        "torch.cat with torch.zeros(1) adds the last level.",
    ),
    mistakes=(
        Mistake(
            "the levels themselves are in equal steps, not their roots",
            "(high + torch.linspace(0, 1, steps) * (low - high)) ** rho",
            "high**rho + torch.linspace(0, 1, steps) * (low**rho - high**rho)",
        ),
        Mistake(
            "the last level, 0, is missing",
            "torch.cat([levels, torch.zeros(1)])",
            "levels",
        ),
        Mistake(
            "the levels rise: a sampler starts from much noise",
            "torch.cat([levels, torch.zeros(1)])",
            "torch.cat([levels.flip(0), torch.zeros(1)])",
        ),
        Mistake(
            "there is one level too many before the 0: sigma_min belongs to step N - 1",
            "torch.linspace(0, 1, steps)",
            "torch.linspace(0, 1, steps + 1)",
        ),
        Mistake(
            "sigma_min is never reached: the shares go up to (N - 1) / N",
            "torch.linspace(0, 1, steps)",
            "torch.arange(steps) / steps",
        ),
        Mistake("the power is not taken back", " ** rho\n", "\n"),
    ),
    alternatives=(levels_by_list,),
)
def _(noise_levels, rng):
    high, rho = float(rng.uniform(2, 20)), float(rng.uniform(2, 8))
    asked = {"official": (3, 2e-3, 5.0, 7.0), "one step": (1, 2e-3, 5.0, 7.0)}
    asked |= {"EDM": (18, 2e-3, 80.0, 7.0), "another": (5, 0.1, high, rho)}
    return {name: noise_levels(*numbers) for name, numbers in asked.items()}


# 4.3.5 ------------------------------------------------------------------------------------------


class Asked:
    """A denoiser with an opinion, which notes what noise levels it is asked for."""

    def __init__(self, rng):
        self.target, self.levels = normal(rng, B, P, SIDE, SIDE), []

    def __call__(self, x, sigma):
        self.levels.append(torch.as_tensor(sigma).reshape(-1)[0].detach())
        return (self.target + 0.3 * torch.sin(x) * sigma) / (1 + sigma)


def sampled(sampler, rng):
    found = {}
    for steps in (1, 2, 4):
        denoise, start = Asked(rng), 5 * normal(rng, B, P, SIDE, SIDE)
        before = start.clone()
        inner = (0.05 + torch.as_tensor(rng.uniform(size=steps), dtype=torch.float32)).cumsum(0)
        x = sampler(denoise, start, torch.cat([inner.flip(0), torch.zeros(1)]))
        found |= {f"x, {steps} steps": x, f"start after it, {steps} steps": start - before}
        found[f"levels asked for, {steps} steps"] = torch.stack(denoise.levels)
    return found


def euler_as_mixture(denoise, start, levels):
    x = start
    for i in range(len(levels) - 1):
        keep = levels[i + 1] / levels[i]
        x = keep * x + (1 - keep) * denoise(x, levels[i])
    return x


@exercise(
    "4.3.5",
    edm.euler,
    points=2,
    difficulty=2,
    minutes=20,
    hints=(
        "One step for each pair of neighbouring levels: the one to leave, the one to reach.",
        "The slope is (x - denoise(x, sigma)) / sigma. How far does sigma move in this step? "
        "Downwards: the number is negative.",
        "x = x + (following - sigma) * slope. In the last step `following` is 0, and x becomes "
        "the denoised frame itself.",
    ),
    mistakes=(
        Mistake(
            "the step leads away from the denoised frame: the slope or the step has a wrong sign",
            "(x - denoise(x, sigma)) / sigma",
            "(denoise(x, sigma) - x) / sigma",
        ),
        Mistake("the slope is not divided by the noise level", "x, sigma)) / sigma", "x, sigma))"),
        Mistake(
            "the slope is divided by the level to reach, which is 0 in the end",
            ") / sigma\n",
            ") / following\n",
        ),
        Mistake(
            "each step jumps to the denoised frame: nothing is left of x",
            "x + (following - sigma) * slope",
            "x - sigma * slope",
        ),
        Mistake(
            "the denoiser is asked at the level to reach, not at that of x",
            "x - denoise(x, sigma)",
            "x - denoise(x, following)",
        ),
        Mistake(
            "every step starts from the first noise again", "x + (following", "start + (following"
        ),
        Mistake("the last step is left out", "pairwise(levels)", "pairwise(levels[:-1])"),
    ),
    alternatives=(euler_as_mixture,),
)
def _(euler, rng):
    return sampled(euler, rng)


# 4.3.6 ------------------------------------------------------------------------------------------


def heun_from_the_end(denoise, start, levels):
    x, last = start, len(levels) - 2
    for i in range(last + 1):
        step = levels[i + 1] - levels[i]
        slopes = [(x - denoise(x, levels[i])) / levels[i]]
        if i < last:
            there = x + step * slopes[0]
            slopes.append((there - denoise(there, levels[i + 1])) / levels[i + 1])
        x = x + step * torch.stack(slopes).mean(0)
    return x


@exercise(
    "4.3.6",
    edm.heun,
    core=False,
    bug="level",
    points=2,
    difficulty=3,
    minutes=15,
    hints=(
        "Compare each line with what the docstring says. Both slopes belong to a level.",
        "The second slope is that of the point `ahead`, at the level where this point lies.",
    ),
    mistakes=(
        Mistake(
            "the second slope asks the denoiser at the level that is left, though the point lies "
            "at the level to reach",
            "denoise(ahead, following)",
            "denoise(ahead, sigma)",
            "level",
        ),
        Mistake(
            "the second slope is divided by the level that is left",
            ") / following\n",
            ") / sigma\n",
        ),
        Mistake("the slopes are added, not averaged", "(slope + second) / 2", "(slope + second)"),
        Mistake(
            "the corrected step starts where the first one ended",
            "ahead = x + (following - sigma) * (slope",
            "ahead = ahead + (following - sigma) * (slope",
        ),
        Mistake(
            "the second slope is that of the point that is left",
            "(ahead - denoise(ahead, following))",
            "(x - denoise(x, following))",
        ),
        Mistake("only the second slope is followed", "(slope + second) / 2", "second"),
        Mistake("no step is corrected: this is Euler's method", "following > 0", "following < 0"),
    ),
    alternatives=(heun_from_the_end,),
)
def _(heun, rng):
    return sampled(heun, rng)


# 4.3.7 ------------------------------------------------------------------------------------------


def step_by_roll(self, state, action, noise):
    number = self.index(action)
    actions = state["actions"].roll(-1, 1)
    actions[:, -1] = number
    frame = self.sample(state["frames"], actions, noise)
    frames = state["frames"].roll(-1, 1)
    frames[:, -1] = frame
    return Dreamt(
        {"frames": frames, "actions": actions}, *self.outcome(state["frames"][:, -1], frame, number)
    )


@exercise(
    "4.3.7",
    diamond.DIAMOND.step,
    points=3,
    difficulty=3,
    minutes=25,
    hints=(
        "The new action was chosen on seeing the last frame: it belongs to the context before the "
        "next frame is drawn. In which order must things move?",
        "torch.cat([old[:, 1:], new[:, None]], 1) drops the oldest and adds the newest, without "
        "changing `old`.",
        "First actions, then self.sample(state['frames'], actions, noise), then "
        "self.outcome(state['frames'][:, -1], frame, number), then frames.",
    ),
    mistakes=(
        Mistake(
            "the sampler is told the actions before this one: every frame answers to the action "
            "before",
            'self.sample(state["frames"], actions, noise)',
            'self.sample(state["frames"], state["actions"], noise)',
        ),
        Mistake(
            "the newest action is dropped, not the oldest",
            'state["actions"][:, 1:]',
            'state["actions"][:, :-1]',
        ),
        Mistake(
            "the newest frame is dropped, not the oldest",
            'torch.cat([state["frames"][:, 1:]',
            'torch.cat([state["frames"][:, :-1]',
        ),
        Mistake(
            "the new frame is put before the others; the oldest comes first",
            'torch.cat([state["frames"][:, 1:], frame[:, None]], 1)',
            'torch.cat([frame[:, None], state["frames"][:, 1:]], 1)',
        ),
        Mistake(
            "the dream does not move: the new frame never becomes context",
            '"frames": frames,',
            '"frames": state["frames"],',
        ),
        Mistake(
            "reward and end are judged by the oldest frame of the context, not the last",
            'self.outcome(state["frames"][:, -1], frame, number)',
            'self.outcome(state["frames"][:, 0], frame, number)',
        ),
        Mistake(
            "reward and end are judged by the frame before alone; they came with the new one",
            'self.outcome(state["frames"][:, -1], frame, number)',
            'self.outcome(state["frames"][:, -1], state["frames"][:, -1], number)',
        ),
        Mistake(
            "no noise goes in: the same frame every time",
            'state["frames"], actions, noise)',
            'state["frames"], actions, 0 * noise)',
        ),
    ),
    alternatives=(step_by_roll,),
)
def _(DIAMOND, rng):
    config = diamond.Config(context=L, depths=(1,), channels=(4,), features=12, group=2)
    world = DIAMOND(MultiBinary((SIDE, SIDE, P)), Discrete(A), config)
    weights, seen = normal(rng, L), []

    def sample(frames, actions, noise):
        seen.append(actions)
        told = (actions.float() * weights).sum(1)[:, None, None, None]
        return (frames * weights[:, None, None, None]).sum(1) + told + 0.1 * noise

    def outcome(before, frame, action):
        number = action.float()
        return before.mean((1, 2, 3)) * number + frame.sum((1, 2, 3)), number + before.amax(
            (1, 2, 3)
        )

    world.sample, world.outcome = sample, outcome
    frames = normal(rng, B, L, P, SIDE, SIDE)
    state = {"frames": frames, "actions": torch.as_tensor(rng.integers(0, A + 1, (B, L)))}
    given, found = {name: part.clone() for name, part in state.items()}, {}
    for t in range(2):
        action = F.one_hot(torch.as_tensor(rng.integers(0, A, B)), A).float()
        dreamt = world.step(state, action, normal(rng, B, P, SIDE, SIDE))
        if t == 0:
            found = {f"change of state[{k!r}]": state[k] - given[k] for k in given}
        state = dreamt.state
        found[f"actions for the sampler, step {t}"] = seen[t]
        found |= {f"{name}, step {t}": part for name, part in state.items()}
        found |= {f"reward, step {t}": dreamt.reward, f"cont, step {t}": dreamt.cont}
    return found


# 4.3.8 ------------------------------------------------------------------------------------------


def quantise_by_table(frame):
    table = torch.linspace(-1, 1, 256, dtype=torch.float64)
    place = torch.bucketize(frame.double(), (table[1:] + table[:-1]) / 2)
    return table[place].to(frame.dtype)


@exercise(
    "4.3.8",
    diamond.quantise,
    core=False,
    points=1,
    difficulty=1,
    minutes=10,
    hints=(
        "Bring the frame to 0 ... 1, then to 0 ... 255, round, and go back the same way.",
        "Values outside of -1 ... 1 come first: frame.clamp(-1, 1).",
    ),
    mistakes=(
        Mistake(
            "it is cut to the level below, as `.byte()` does: every frame sinks a little, and a "
            "frame that has been quantised does not stay as it is",
            ".round()",
            ".floor()",
        ),
        Mistake("values outside of -1 to 1 are let through", "frame.clamp(-1, 1)", "frame"),
        Mistake(
            "it stays at levels from 0 to 255; the network sees frames from -1 to 1",
            "return level / 255 * 2 - 1",
            "return level",
        ),
        Mistake("it stays in 0 to 1", "return level / 255 * 2 - 1", "return level / 255"),
        Mistake(
            "there are 257 levels: 8 bits hold 0 to 255",
            "+ 1) / 2 * 255).round()",
            "+ 1) / 2 * 256).round()",
        ),
        Mistake("nothing is rounded", ".round()", ""),
    ),
    alternatives=(quantise_by_table,),
)
def _(quantise, rng):
    frame = torch.as_tensor(rng.uniform(-1.2, 1.2, size=(B, 9)), dtype=torch.float32)
    frame[0, :2] = torch.tensor([-1.1, 1.1])  # both beyond the ends
    levels = torch.arange(256) / 255 * 2 - 1
    once = quantise(frame)
    return {"a frame": once, "twice": quantise(once), "the 256 levels": quantise(levels)}


# 4.3.9 ------------------------------------------------------------------------------------------


def corrupt_by_variance(frames, level, noise):
    share = torch.cos((0.98 * level + 0.01) * torch.pi / 2)[:, :, None, None] ** 2
    return frames * share**0.5 + noise * (1 - share) ** 0.5


@exercise(
    "4.3.9",
    blob_video.corrupt,
    core=False,
    points=2,
    difficulty=2,
    minutes=15,
    atol=1e-5,
    hints=(
        "share = signal(level) is [B, T]: two axes must be added, so that it stands beside frames.",
        "The noise has what is left of the variance: (1 - share.square()).sqrt() * noise.",
    ),
    mistakes=(
        Mistake(
            "every frame of a film has the level of the last one; each has its own",
            "signal(level)[..., None, None]",
            "signal(level)[:, -1:, None, None]",
        ),
        Mistake(
            "frame and noise have changed places: at level 0 all would be noise",
            "share * frames + (1 - share.square()).sqrt() * noise",
            "share * noise + (1 - share.square()).sqrt() * frames",
        ),
        Mistake(
            "the noise has the share 1 - a: the variance would not stay what it is",
            "(1 - share.square()).sqrt()",
            "(1 - share)",
        ),
        Mistake("the root of the noise's share is left out", ".sqrt()", ""),
        Mistake("the frame does not fade", "share * frames", "frames"),
        Mistake(
            "the level is taken for the share itself",
            "signal(level)[",
            "level[",
        ),
    ),
    alternatives=(corrupt_by_variance,),
)
def _(corrupt, rng):
    frames, noise = normal(rng, B, L, SIDE, SIDE), normal(rng, B, L, SIDE, SIDE)
    level = torch.as_tensor(rng.uniform(size=(B, L)), dtype=torch.float32)
    level[0], level[1] = 0.0, 1.0
    same = corrupt(frames, level[:, :1].expand(B, L), noise)
    return {"levels of their own": corrupt(frames, level, noise), "one level": same}


# 4.3.10 -----------------------------------------------------------------------------------------


def contexts_by_loop(rows, first, length):
    seen = rows.new_zeros(*rows.shape[:2], length, *rows.shape[2:])
    for b in range(rows.shape[0]):
        for t in range(rows.shape[1]):
            for back in range(length):
                if t - back < 0:
                    break
                seen[b, t, length - 1 - back] = rows[b, t - back]
                if first[b, t - back]:
                    break
    return seen


@exercise(
    "4.3.10",
    diamond.contexts,
    core=False,
    bug="border",
    points=2,
    difficulty=3,
    minutes=15,
    hints=(
        "What should the context hold in the second row of an episode? Print what it holds.",
        "`episode` numbers the episodes in a window. Which of the L rows have to be in the same "
        "episode as which?",
    ),
    mistakes=(
        Mistake(
            "a row is kept if it lies in the episode of the *oldest* row of the context: what came "
            "before a new episode is never forgotten, and the new episode is",
            "episode == episode[..., -1:]",
            "episode == episode[..., :1]",
            "border",
        ),
        Mistake(
            "nothing is forgotten where an episode starts",
            "episode == episode[..., -1:]",
            "episode >= 0",
        ),
        Mistake(
            "rows before the window repeat instead of being zeros",
            "rows.new_zeros(rows.shape[0], length - 1, *rows.shape[2:])",
            "rows[:, :1].expand(-1, length - 1, *rows.shape[2:])",
        ),
        Mistake(
            "the newest row comes first",
            ".unfold(1, length, 1).movedim(-1, 2)\n",
            ".unfold(1, length, 1).movedim(-1, 2).flip(2)\n",
        ),
        Mistake(
            "the row itself is left out of its context",
            "torch.cat([before, rows], 1)",
            "torch.cat([before, rows], 1).roll(1, 1)",
        ),
    ),
    alternatives=(contexts_by_loop,),
)
def _(contexts, rng):
    first = torch.zeros(4, 7, dtype=torch.bool)
    first[1, 3] = first[2, 0] = first[3, 2] = first[3, 3] = True
    numbers, frames = 1 + torch.as_tensor(rng.integers(0, 9, (4, 7))), normal(rng, 4, 7, 2, 3)
    return {
        "numbers, L = 3": contexts(numbers, first, 3),
        "frames, L = 4": contexts(frames, first, 4),
        "frames, L = 1": contexts(frames, first, 1),
    }
