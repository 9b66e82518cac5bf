"""Connect Four by self-play, and its Elo curve: the full profile of lesson 3.1.

    python -m assets.muzero_connect_four

MuZero plays against itself and learns by the lesson's own loss; nobody tells it the rules but which
columns have room, at the root. Copies of it from along the way then meet each other and opponents
that do not learn, everyone against everyone, and all games together give the ratings. A GPU plays
many games with a large model, a CPU few with a small one (`SIZES`). All of it is saved in runs/ as
it goes, and goes on from there. Written are the last player and its card with the curve,
3.1_connect_four.safetensors and .json. Weights are stored as float16.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import one_hot

from assets.training import DEVICE, device_name
from utils.agents.mcts import (
    Decision,
    add_root_noise,
    muzero,
    normalise_by_tree,
    puct,
    simulate,
)
from utils.agents.mcts_compiled import compiled
from utils.agents.mcts_models import WorldModel
from utils.course import store
from utils.data import connect_four as game
from utils.data.replay import Replay
from utils.evaluate import elo
from utils.nn.random import categorical, dirichlet
from utils.world import State
from utils.worlds.muzero import Config, Played, n_step_targets
from utils.worlds.muzero_board import BoardMuZero

PATH = Path(__file__).with_name("3.1_connect_four.safetensors")
RUNS = Path(__file__).parents[1] / "runs/3.1"
SEED = 0

Player = Callable[[Int[Tensor, "N 42"], torch.Generator], Int[Tensor, " N"]]


@dataclasses.dataclass(frozen=True)
class Size:
    """How large, and for how long."""

    planes: int  # of the latent board
    layers: int  # convolutions of each network
    games: int  # side by side
    simulations: int
    moves: int  # of every game: games x moves rows of experience
    updates: int  # after each move
    batch: int
    falling: int  # moves after which the rate would reach zero; it stays at a tenth at least
    rate: float = 2e-3
    copies: tuple[float, ...] = (0, 1 / 8, 1 / 4, 1 / 2, 1)  # when, as shares
    openings: int = 16  # of a match; each is played from both sides


SIZES = {
    "cpu": Size(
        **{"planes": 32, "layers": 1, "games": 64, "simulations": 24},
        **{"moves": 3000, "updates": 2, "batch": 128, "falling": 6000},
    ),
    "cuda": Size(
        **{"planes": 128, "layers": 3, "games": 1024, "simulations": 50},
        **{"moves": 3000, "updates": 4, "batch": 1024, "falling": 3000},
    ),
}
UNROLL, STEPS, MEMORY = 5, game.CELLS, 500  # K; n: to the end of the game; rows of each game
CAREFREE, COOL = 10, 0.3  # first moves of a game at temperature 1, and the temperature after them
OPENING = 4  # random moves before a match
score = partial(puct, normalise=normalise_by_tree)


class Mind:
    """A world, and the search that plays with it."""

    def __init__(self, size: Size) -> None:
        config = Config(
            units=size.planes, layers=size.layers, support=1, squash=False, value_weight=1.0
        )
        columns = torch.eye(game.COLUMNS)[:, None].repeat(1, game.ROWS, 1)
        self.world = BoardMuZero(game.OBSERVATION, game.ACTIONS, columns, config).to(DEVICE)
        self.model = WorldModel(self.world, self.world.predict, 1.0, players=2)
        self.simulations = size.simulations

    @torch.no_grad()
    def think(
        self,
        board: Int[Tensor, "N 42"],
        generator: torch.Generator | None = None,
        simulate: Callable[..., None] = simulate,
    ) -> Decision:
        """Search from boards. With a generator there is noise at the root, as in self-play."""
        legal = game.legal(board)
        root = self.model.root({"latent": self.world.represent(game.observation(board))})
        if generator is not None:
            alike = legal | ~legal.any(-1, keepdim=True)  # where the game is over, anything
            root = root._replace(
                logits=add_root_noise(root.logits, dirichlet(alike.float(), generator))
            )
        return muzero(
            root, self.model, self.simulations, legal=legal, score=score, simulate=simulate
        )

    def play(self, board: Int[Tensor, "N 42"], generator: torch.Generator) -> Int[Tensor, " N"]:
        """The most visited column, without noise."""
        return self.think(board).action

    @torch.no_grad()
    def play_by_policy(
        self, board: Int[Tensor, "N 42"], generator: torch.Generator
    ) -> Int[Tensor, " N"]:
        """What the policy network likes best, without a search."""
        logits, _ = self.world.heads(self.world.represent(game.observation(board)))
        return game.best(logits, board, generator)


# ---- self-play


def chosen(decision: Decision, board: Int[Tensor, "N 42"], generator: torch.Generator) -> Tensor:
    """Columns drawn by visits, at a temperature that falls after the first moves."""
    early = (board != 0).sum(-1, keepdim=True) < CAREFREE
    visits = decision.tree.visits[:, 0].log()
    return categorical(torch.where(early, visits, visits / COOL), generator)


def mirrored(rows: Played, mirror: Tensor) -> Played:
    """Windows [B, T], left and right exchanged where `mirror` [B] says so: the game is the same."""
    mirror = mirror[:, None, None]
    seen = rows.observation.unflatten(-1, (2, game.ROWS, game.COLUMNS)).flip(-1).flatten(-3)
    return rows._replace(
        observation=torch.where(mirror, seen, rows.observation),
        action=torch.where(mirror, rows.action.flip(-1), rows.action),
        policy=torch.where(mirror, rows.policy.flip(-1), rows.policy),
    )


def learn(mind: Mind, optimiser: torch.optim.Optimizer, rows: Played, generator) -> dict:
    """One update of windows of self-play."""
    target = n_step_targets(rows, STEPS, -mind.model.gamma)
    window = Played(*(v[:, : UNROLL + 1] for v in rows))._replace(value=target)
    loss, parts, _ = mind.world.loss(window, generator)
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(mind.world.parameters(), 5.0)
    optimiser.step()
    return parts


def train(size: Size, about: dict) -> float:
    """Self-play; copies are kept in runs/. Returns seconds, of the CPU if there is no GPU."""
    torch.manual_seed(SEED)
    mind, run = Mind(size), store.Run(RUNS, "connect_four", about)
    world, games = mind.world, game.ConnectFour(size.games, DEVICE)
    optimiser = torch.optim.AdamW(world.parameters(), size.rate, weight_decay=1e-4, fused=True)
    generator, draw = torch.Generator(DEVICE).manual_seed(SEED), torch.Generator().manual_seed(SEED)
    replay, fast, row, first, before = Replay(MEMORY, Played), compiled(), games.reset(), 0, 0.0
    if (tree := run.load()) is not None:
        first, before, games.board = tree["move"], tree["seconds"], tree["board"].to(DEVICE)
        row = type(row)(**{k: v.to(DEVICE) for k, v in tree["row"].items()})
        for name, part in (("world", world), ("optimiser", optimiser), ("replay", replay)):
            part.load_state_dict(tree[name])
        generator.set_state(tree["generator"])
        draw.set_state(tree["draw"])
    due = {round(share * size.moves) for share in size.copies}
    clock = time.perf_counter if DEVICE == "cuda" else time.process_time
    begun = clock() - before
    for move in range(first, size.moves + 1):
        if move in due:
            copy = store.Run(RUNS, f"connect_four_{move}", about)
            copy.save({"world": world.state_dict(), "seconds": clock() - begun})
        decision = mind.think(games.board, generator, fast)
        found = Played(*row, decision.policy, decision.tree.value[:, 0])
        found = found._replace(observation=row.observation.bool())  # a byte a cell
        replay.add(Played(*(v.cpu() for v in found)))
        column = chosen(decision, games.board, generator)
        row = games.step(one_hot(column, game.COLUMNS).float())
        if move < 2 * STEPS:
            continue
        optimiser.param_groups[0]["lr"] = size.rate * max(0.1, 1 - move / size.falling)
        for _ in range(size.updates):
            rows = replay.sample(size.batch, UNROLL + 1 + STEPS, draw)
            rows = mirrored(rows, torch.rand(size.batch, generator=draw) < 0.5)
            parts = learn(mind, optimiser, Played(*(v.to(DEVICE) for v in rows)), generator)
        if move % 100 == 0:
            shown = ", ".join(f"{name} {value:.3g}" for name, value in parts.items())
            print(f"{move}: {clock() - begun:.0f} s, {shown}", flush=True)
        if run.due(60) or move == size.moves:
            tree = {"move": move + 1, "seconds": clock() - begun, "board": games.board}
            tree |= {"row": row._asdict(), "world": world.state_dict()}
            tree |= {"optimiser": optimiser.state_dict(), "replay": replay.state_dict()}
            run.save(tree | {"generator": generator.get_state(), "draw": draw.get_state()})
    return tree["seconds"]


# ---- the round robin


def openings(number: int, generator: torch.Generator) -> Int[Tensor, "N 42"]:
    """Different boards after some random moves, none of them over."""
    board = game.empty(8 * number, DEVICE)
    for _ in range(OPENING):
        board = game.moved(board, game.at_random(board, generator))
    board = board[~game.over(board)].unique(dim=0)
    return board[torch.randperm(len(board), generator=generator, device=DEVICE)[:number]]


def match(
    one: Player, other: Player, board: Int[Tensor, "N 42"], generator: torch.Generator
) -> Float[np.ndarray, " 3"]:
    """Games that `one` won, drew and lost: from each board twice, so that each begins once."""
    turn = torch.arange(2 * len(board), device=DEVICE) < len(board)  # `one` moves
    board, ended = board.repeat(2, 1), torch.zeros(3, dtype=torch.long, device=DEVICE)
    while len(board):
        column = torch.empty(len(board), dtype=torch.long, device=DEVICE)
        for player, theirs in ((one, turn), (other, ~turn)):
            if theirs.any():
                column[theirs] = player(board[theirs], generator)
        board = game.moved(board, column)
        over, lost = game.over(board), game.lost(board)
        ended += torch.stack([(lost & turn).sum(), (over & ~lost).sum(), (lost & ~turn).sum()])
        board, turn = board[~over], ~turn[~over]
    return ended.cpu().numpy()


class Playouts:
    """A search that knows the rules and nothing else: a new node is worth one random game."""

    def __init__(self, simulations: int) -> None:
        self.simulations = simulations

    def play(self, board: Int[Tensor, "N 42"], generator: torch.Generator) -> Int[Tensor, " N"]:
        def predict(state: State) -> tuple[Tensor, Tensor]:
            board = state["board"]
            logits = torch.where(game.legal(board), 0.0, torch.finfo(torch.float32).min)
            return logits, game.playout(board, generator)

        model = WorldModel(game.Exact(), predict, 1.0, players=2)
        return muzero(model.root({"board": board}), model, self.simulations, score=score).action


def fixed() -> dict[str, Player]:
    """Opponents that do not learn."""

    def looks_ahead(depth: int) -> Player:
        return lambda board, generator: game.best(game.minimax(board, depth), board, generator)

    ahead = {f"minimax, {d} moves deep": looks_ahead(d) for d in (1, 2, 4)}
    return {"random": game.at_random} | ahead | {"search with 50 playouts": Playouts(50).play}


def copies(size: Size, about: dict) -> tuple[dict[str, Player], list[dict]]:
    """The copies of the player as opponents, and what their training had cost by then."""
    players, made = {}, []
    for move in sorted({round(share * size.moves) for share in size.copies}):
        tree, mind = store.Run(RUNS, f"connect_four_{move}", about).load(), Mind(size)
        mind.world.load_state_dict(tree["world"])
        players[f"after {move} moves"] = mind.play
        made.append({"moves": move, "seconds": round(tree["seconds"], 1)})
    players["the last, without search"] = mind.play_by_policy
    return players, made


def round_robin(players: dict[str, Player], size: Size, about: dict) -> Float[np.ndarray, "P P 3"]:
    """Everyone against everyone. Every match is saved when it is over."""
    run, names = store.Run(RUNS, "connect_four_matches", about), list(players)
    results = run.load() or {}
    for i, name in enumerate(names):
        for j, other in enumerate(names[:i]):
            if f"{i} {j}" in results:
                continue
            generator = torch.Generator(DEVICE).manual_seed(1000 * i + j)
            boards = openings(size.openings, generator)
            results[f"{i} {j}"] = match(players[name], players[other], boards, generator)
            run.save(results)
            print(f"{name} - {other}: {results[f'{i} {j}'].tolist()}", flush=True)
    table = np.zeros((len(names), len(names), 3))
    for pair, ended in results.items():
        table[tuple(map(int, pair.split()))] = ended
    return table


def main() -> None:
    torch.set_num_threads(1)
    size = SIZES[DEVICE]
    about = dataclasses.asdict(size) | {"seed": SEED, "device": DEVICE}
    seconds = train(size, about)
    learned, made = copies(size, about)
    players = fixed() | learned
    results = round_robin(players, size, about)
    found = elo.ratings(results, anchor=0)
    rated = {
        name: {"elo": round(r), "low": round(low), "high": round(high)}
        for name, r, low, high in zip(players, *found, strict=True)
    }
    curve = [{**cost, **rated[f"after {cost['moves']} moves"]} for cost in made]
    last = store.Run(RUNS, f"connect_four_{size.moves}", about).load()["world"]
    store.save(PATH, {"size": about, "weights": {k: v.half().cpu() for k, v in last.items()}})
    names = list(players)
    matches = {
        f"{names[i]} - {names[j]}": results[i, j].astype(int).tolist()
        for i, j in zip(*results.sum(-1).nonzero(), strict=True)
    }
    facts = {"command": "python -m assets.muzero_connect_four", "seconds": round(seconds)}
    facts |= {"device": device_name(), "seed": SEED, "stored as": "float16", "size": about}
    facts |= {"claims": rated, "curve": curve, "matches": matches}
    store.card(PATH, **facts)
    print("\n".join(f"{name}: {value}" for name, value in rated.items()))


if __name__ == "__main__":
    main()
