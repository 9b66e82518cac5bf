"""Makes the third checkpoint of lesson 4.3: DIAMOND on Atari's Breakout, 64 x 64 pixels in colour.

    python -m assets.diamond_atari [UPDATES]

It records 30,000 frames, trains on the first nine tenths, and measures dreams of the last tenth,
which it has not seen. This is the full-size run of the lesson as far as one core gets: a U-Net of
half the official channels and depth, in bfloat16, and an error counts 21 times where a pixel has
changed, as on cells. The whole run is of 3,600 updates, half an hour of one core; it stops after
UPDATES of them, if given. Weights, as float16, and a card are written beside this file. Training
saves itself in runs/ and goes on from there.
"""

import dataclasses
import sys
from pathlib import Path

import torch

from assets.training import DEVICE, device_name, halve, learn
from utils.course import store
from utils.data import atari
from utils.data.sequences import sample_windows
from utils.evaluate import atari_film, ladder
from utils.world import Step
from utils.worlds.diamond import DIAMOND, Config
from utils.worlds.diamond_fast import fast

PATH = Path(__file__).with_name("4.3_atari.safetensors")
RUNS = Path(__file__).parents[1] / "runs/4.3"
CONFIG = Config(depths=(1,) * 4, channels=(32,) * 4, moving=20.0)
ROWS, UPDATES, BATCH, RATE, SEED = 15_000, 3_600, 16, 1e-3, 0
WINDOWS, HORIZON, CONTEXT = 64, 50, CONFIG.context + 1


@torch.no_grad()
def judge(world: DIAMOND, held_out: Step) -> dict[str, dict[str, float]]:
    """Scores of dreams, of the game itself, and of a picture that stands still."""
    luck = torch.Generator().manual_seed(SEED)
    windows = sample_windows(held_out, WINDOWS, CONTEXT + HORIZON, luck)
    inside = ladder.counted(windows, CONTEXT)
    after = Step(*(part[:, CONTEXT:] for part in windows))
    state = ladder.filtered(world, windows, CONTEXT, luck)
    last = windows.observation[:, CONTEXT - 1 : CONTEXT]
    films = {
        "game": after.observation,
        "dream": ladder.ahead(world, state, after.action, luck).state,
        "still picture": last.expand_as(after.observation),
    }
    found = {name: atari_film.scores(film, after, inside) for name, film in films.items()}
    return {name: {k: round(v, 4) for k, v in each.items()} for name, each in found.items()}


def again(held_out: Step, recorded: Step) -> float:
    """The share of measured frames that also occur, to the last bit, in what was trained on."""
    known, asked = (
        [hash(frame.numpy().tobytes()) for frame in part.observation.flatten(0, 1)]
        for part in (recorded, held_out)
    )
    return round(sum(map(set(known).__contains__, asked)) / len(asked), 4)


def main(until: int = UPDATES) -> None:
    torch.set_num_threads(1)
    recorded, held_out = atari_film.record(ROWS)
    torch.manual_seed(SEED)
    world = DIAMOND(atari.OBSERVATION, atari.ACTION, CONFIG)
    world = world.to(DEVICE, memory_format=torch.channels_last)
    generator = torch.Generator(DEVICE).manual_seed(SEED)

    def loss(batch: Step) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        with torch.autocast(DEVICE, torch.bfloat16):
            return world.loss(batch, generator)[:2]

    about = dataclasses.asdict(CONFIG) | {"updates": UPDATES, "batch": BATCH}
    seconds = learn(
        loss,
        {"world": world},
        torch.optim.AdamW(world.parameters(), RATE, weight_decay=1e-2, fused=True),
        Step(*(part.to(DEVICE) for part in recorded)),
        generator,
        store.Run(RUNS, "atari", about),
        **{"updates": UPDATES, "batch": BATCH, "length": CONTEXT, "clip": 1.0, "until": until},
    )
    halve(world, CONFIG, PATH)
    command = f"python -m assets.diamond_atari {until}"
    facts = {"command": command, "seconds": round(seconds), "seed": SEED, "updates": until}
    facts |= {"device": device_name(), "stored as": "float16", "frames": 2 * ROWS}
    facts |= {"frames that occur in training too": again(held_out, recorded)}
    facts |= {"batch": BATCH, "claims": judge(fast(world), held_out)}
    print(store.card(PATH, **facts))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
