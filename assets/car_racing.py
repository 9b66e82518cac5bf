"""Makes the checkpoint of lesson 2.1: V and M of CarRacing-v3, by the lesson's own losses.

    python -m assets.car_racing

It records what is not in runs/2.1/car_racing yet (32,000 frames: four minutes on one core), trains
V, then M on V's latents (twenty minutes on one core), measures both on drives that neither has
seen, and writes 2.1_car_racing.safetensors and its card beside this file. Weights are stored as
float16, which is half the size; `load_state_dict` widens them again.
"""

import time
from pathlib import Path

import torch

from utils.course import store
from utils.data import car_racing
from utils.data.sequences import sample_windows
from utils.evaluate.ladder import Ground, Persistence, filtered, measure
from utils.nn.random import normal
from utils.world import State, Step, rollout
from utils.worlds.vmc import VMC, ConvVAE, VMCConfig

PATH = Path(__file__).with_name("2.1_car_racing.safetensors")
RECORDED = Path(__file__).parents[1] / "runs/2.1/car_racing"
STREAMS, STEPS, UNSEEN = 120, 250, 8  # drives, rows of each, and drives kept to measure on
VISION = {"latent": 32, "depth": 16}  # half the article's width, a quarter of its parameters
MEMORY = {"hidden": 256, "reward": False, "cont": False}  # as in the article: z and nothing else
VISION_STEPS, MEMORY_STEPS, SEED = 3000, 5000, 0


def train_vision(frames: torch.Tensor, steps: int, generator: torch.Generator) -> ConvVAE:
    """V on frames [N, 64, 64, 3], a hundred at a time, half of them mirrored."""
    vision = ConvVAE(**VISION)
    adam = torch.optim.Adam(vision.parameters(), 1e-3, fused=True)
    falling = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.05, steps)
    for step in range(steps):
        batch = frames[torch.randint(len(frames), (100,), generator=generator)]
        batch[:50] = batch[:50].flip(-2)
        loss, parts = vision.loss(batch, generator)
        adam.zero_grad()
        loss.backward()
        adam.step()
        falling.step()
        if step % 100 == 0:
            print(f"V {step}", *(f"{k} {v:.1f}" for k, v in parts.items()), flush=True)
    return vision


@torch.no_grad()
def latents(vision: ConvVAE, data: Step) -> Step:
    """The data with each frame's mean and log variance of z for observation, [B, T, 2, Z]."""
    seen = [torch.stack(vision.posterior(stream), -2) for stream in data.observation]
    return data._replace(observation=torch.stack(seen))


def train_memory(vision: ConvVAE, data: Step, steps: int, generator: torch.Generator) -> VMC:
    """M on windows of 64 rows, 32 at a time, with z drawn anew from V each time."""
    world = VMC(vision, car_racing.ACTIONS, VMCConfig(**MEMORY))
    memory = [p for name, p in world.named_parameters() if not name.startswith("vision")]
    adam = torch.optim.Adam(memory, 2e-3, fused=True)
    falling = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.05, steps)
    both = latents(vision, data), latents(vision, car_racing.mirrored(data))
    data = Step(*(torch.cat(column) for column in zip(*both, strict=True)))
    for step in range(steps):
        batch = sample_windows(data, 32, 64, generator)
        mean, log_variance = batch.observation.unbind(-2)
        z = normal(mean, (log_variance / 2).exp(), generator)
        loss, parts, _ = world.loss_of_latents(z, batch)
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_value_(memory, 1.0)
        adam.step()
        falling.step()
        if step % 100 == 0:
            print(f"M {step}", *(f"{k} {v:.3f}" for k, v in parts.items()), flush=True)
    return world


def rmse(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Of all values of a frame, in 0..255: [B, H]."""
    return (predicted - target).square().flatten(2).mean(-1).sqrt()


def turned(world: VMC, starts: State, steer: float, generator: torch.Generator) -> torch.Tensor:
    """Where the road is after ten dreamt steps at this steering, -1 left to 1 right: [B]."""
    action = torch.tensor([steer, 0.1, 0.0]).expand(len(starts["z"]), 10, 3)
    frames = world.decode(rollout(world, starts, action, 10, generator=generator).state)[:, -1]
    return torch.tensor([car_racing.road_ahead(f.byte().numpy(), 0.0) for f in frames])


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
    said |= {name: value for name, value in row.items() if isinstance(value, float)}
    said |= {f"persistence {k}": v for k, v in base.items() if k.startswith("rmse@")}
    starts = filtered(world, windows, 16)

    def again() -> torch.Generator:  # the same noise for what is compared
        return torch.Generator().manual_seed(SEED)

    left, right = (turned(world, starts, steer, again()) for steer in (-0.6, 0.6))
    said["road further right after left than after right, share"] = (
        (left > right).float().mean().item()
    )
    said["mean of that distance, of half a picture"] = (left - right).mean().item()
    pedals = {"gas": [0.6, 0.0], "brake": [0.0, 0.6]}
    said |= {f"frame to frame, {k}": moved(world, starts, v, again()) for k, v in pedals.items()}
    return {name: round(value, 4) for name, value in said.items()}


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    begun, generator = time.monotonic(), torch.Generator().manual_seed(SEED)
    seeds = range(STREAMS + UNSEEN)
    every = car_racing.together(car_racing.record(RECORDED, seeds, STEPS))
    data, unseen = (Step(*(v[part] for v in every)) for part in (seeds[:STREAMS], seeds[STREAMS:]))
    vision = train_vision(data.observation.flatten(0, 1), VISION_STEPS, generator)
    world = train_memory(vision, data, MEMORY_STEPS, generator)
    seconds = time.monotonic() - begun
    weights = {name: value.half() for name, value in world.state_dict().items()}
    store.save(PATH, {"vision": VISION, "memory": MEMORY, "weights": weights})
    world.load_state_dict(weights)  # what is measured is what was stored
    facts = {"command": "python -m assets.car_racing", "seconds": round(seconds)}
    facts |= {"device": "1 CPU core (x86_64)", "seed": SEED, "stored as": "float16"}
    facts |= {"claims": measured(world, unseen)}
    print(store.card(PATH, **facts))


if __name__ == "__main__":
    main()
