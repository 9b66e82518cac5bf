"""Makes the checkpoint of lesson 2.1: V and M of CarRacing-v3, by the lesson's own losses.

    python -m assets.car_racing

It records what is not in runs/2.1/car_racing yet (32,000 frames: four minutes on one core), trains
V, then M on V's latents (some ten minutes on one core), measures both on drives that neither has
seen, and writes 2.1_car_racing.safetensors and its card beside this file. Weights are stored as
float16, which is half the size; `load_state_dict` widens them again.
"""

import time
from pathlib import Path

import torch
from torch import nn

from utils.course import store
from utils.data import car_racing
from utils.data.sequences import sample_windows
from utils.evaluate.ladder import Ground, Persistence, filtered, measure
from utils.nn.random import normal
from utils.world import State, Step, rollout
from utils.worlds.vmc import VMC, ConvVAE, VMCConfig

PATH = Path(__file__).with_name("2.1_car_racing.safetensors")
RUNS = Path(__file__).parents[1] / "runs/2.1"
STREAMS, STEPS, UNSEEN = 120, 250, 8  # drives, rows of each, and drives kept to measure on
VISION = {"latent": 32, "depth": 16}  # half the article's width, a quarter of its parameters
MEMORY = {"hidden": 256, "reward": False, "cont": False}  # as in the article: z and nothing else
VISION_STEPS, MEMORY_STEPS, SEED = 2000, 4000, 0


def train(name: str, module: nn.Module, loss, lr: float, steps: int, generator) -> float:
    """The loop of the lesson, with a learning rate that falls to a twentieth. It saves itself in
    runs/ and goes on from there. Returns the seconds it took."""
    learned = [p for p in module.parameters() if p.requires_grad]
    adam = torch.optim.Adam(learned, lr, fused=True)
    falling = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.05, steps)
    run = store.Run(RUNS, name, {"steps": steps, "lr": lr, "streams": STREAMS, "seed": SEED})
    parts = {"module": module, "adam": adam, "falling": falling}
    first, before, begun = 0, 0.0, time.monotonic()
    if (tree := run.load()) is not None:
        first, before = tree["step"], tree["seconds"]
        for key, part in parts.items():
            part.load_state_dict(tree[key])
        generator.set_state(tree["generator"])
    for step in range(first, steps):
        value, said = loss()
        adam.zero_grad()
        value.backward()
        if name.endswith("m"):  # as in the official code, M's gradients are clipped and V's not
            nn.utils.clip_grad_value_(learned, 1.0)
        adam.step()
        falling.step()
        if step % 100 == 0:
            print(name, step, *(f"{k} {v:.3g}" for k, v in said.items()), flush=True)
        if run.due(60) or step + 1 == steps:
            tree = {key: part.state_dict() for key, part in parts.items()}
            seconds = before + time.monotonic() - begun
            tree |= {"step": step + 1, "seconds": seconds, "generator": generator.get_state()}
            run.save(tree)
    return tree["seconds"]


def vision_loss(vision: ConvVAE, frames: torch.Tensor, generator: torch.Generator):
    """V on 64 frames of [N, 64, 64, 3], half of them mirrored."""
    batch = frames[torch.randint(len(frames), (64,), generator=generator)]
    batch[:32] = batch[:32].flip(-2)
    return vision.loss(batch, generator)


@torch.no_grad()
def latents(vision: ConvVAE, data: Step) -> Step:
    """The data with each frame's mean and log variance of z for observation, [B, T, 2, Z]."""
    seen = [torch.stack(vision.posterior(stream), -2) for stream in data.observation]
    return data._replace(observation=torch.stack(seen))


def memory_loss(world: VMC, data: Step, generator: torch.Generator):
    """M on 32 windows of 32 rows of `latents`, with z drawn anew from V each time."""
    batch = sample_windows(data, 32, 32, generator)
    mean, log_variance = batch.observation.unbind(-2)
    z = normal(mean, (log_variance / 2).exp(), generator)
    loss, parts, _ = world.loss_of_latents(z, batch)
    return loss, parts


def rmse(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Of all values of a frame, in 0..255: [B, H]."""
    return (predicted - target).square().flatten(2).mean(-1).sqrt()


def turned(world: VMC, starts: State, steer: float, generator: torch.Generator) -> torch.Tensor:
    """Where the road is after five dreamt steps at this steering, -1 left to 1 right; nan where it
    is out of sight: [B]."""
    action = torch.tensor([steer, 0.1, 0.0]).expand(len(starts["z"]), 5, 3)
    dream = rollout(world, starts, action, 5, generator=generator, read=world.decode)
    last = dream.state[:, -1].byte().numpy()
    return torch.tensor([car_racing.road_ahead(frame, float("nan")) for frame in last])


def moved(world: VMC, starts: State, pedals: list[float], generator: torch.Generator) -> float:
    """How much a dreamt frame differs from the one before, after ten steps on a pedal."""
    action = torch.tensor([0.0, *pedals]).expand(len(starts["z"]), 20, 3)
    frames = world.decode(rollout(world, starts, action, 20, generator=generator).state)
    return rmse(frames[:, 10:-1], frames[:, 11:]).mean().item()


@torch.no_grad()
def measured(world: VMC, unseen: Step) -> dict[str, float]:
    """What the card claims, on drives that were not trained on."""
    windows = sample_windows(unseen, 64, 66, torch.Generator().manual_seed(SEED))
    ground = Ground("CarRacing", {"rmse": rmse}, lambda *frames: rmse(*frames) > 25)
    row = measure(world, windows, 16, ground, "V-M")
    base = measure(Persistence(world.spec), windows, 16, ground, "persistence")
    frames = unseen.observation[:, ::5]
    seen = world.vision.expected(world.vision.encode(frames, mode=True))
    said = {"rmse of reconstruction": rmse(seen, frames.float()).mean().item()}
    said |= {k: v for k, v in row.items() if k.startswith(("rmse@", "shuffled@", "calibration@"))}
    said["median steps with rmse up to 25"] = row["valid"]
    said |= {f"persistence {k}": v for k, v in base.items() if k.startswith("rmse@")}
    starts = filtered(world, windows, 16)

    def again() -> torch.Generator:  # the same noise for what is compared
        return torch.Generator().manual_seed(SEED)

    left, right = (turned(world, starts, steer, again()) for steer in (-0.6, 0.6))
    apart = (left - right)[(left - right).isfinite()]
    said["the road is further right after left than after right"] = (
        (apart > 0).float().mean().item()
    )
    said["by so much of half a picture"] = apart.mean().item()
    pedals = {"gas": [0.6, 0.0], "brake": [0.0, 0.6]}
    said |= {f"frame to frame, {k}": moved(world, starts, v, again()) for k, v in pedals.items()}
    return {name: round(value, 4) for name, value in said.items()}


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    generator, seeds = torch.Generator().manual_seed(SEED), range(STREAMS + UNSEEN)
    every = car_racing.together(car_racing.record(RUNS / "car_racing", seeds, STEPS))
    data, unseen = (Step(*(v[part] for v in every)) for part in (seeds[:STREAMS], seeds[STREAMS:]))
    vision, frames = ConvVAE(**VISION), data.observation.flatten(0, 1)
    seconds = train(
        "car_racing_v",
        vision,
        lambda: vision_loss(vision, frames, generator),
        1e-3,
        VISION_STEPS,
        generator,
    )
    world = VMC(vision, car_racing.ACTIONS, VMCConfig(**MEMORY))
    vision.requires_grad_(False)
    both = latents(vision, data), latents(vision, car_racing.mirrored(data))
    rows = Step(*(torch.cat(column) for column in zip(*both, strict=True)))
    seconds += train(
        "car_racing_m",
        world,
        lambda: memory_loss(world, rows, generator),
        2e-3,
        MEMORY_STEPS,
        generator,
    )
    weights = {name: value.half() for name, value in world.state_dict().items()}
    store.save(PATH, {"vision": VISION, "memory": MEMORY, "weights": weights})
    world.load_state_dict(weights)  # what is measured is what was stored
    facts = {"command": "python -m assets.car_racing", "seconds": round(seconds)}
    facts |= {"device": "1 CPU core (x86_64)", "seed": SEED, "stored as": "float16"}
    facts |= {"claims": measured(world, unseen)}
    print(store.card(PATH, **facts))


if __name__ == "__main__":
    main()
