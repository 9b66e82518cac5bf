"""IRIS: a language model of frames (Micheli, Alonso, Fleuret, "Transformers are Sample-Efficient
World Models", ICLR 2023). The code followed is eloialonso/iris at `24326aa`.

A tokenizer makes K whole numbers of a frame. A causal transformer reads frames and actions as one
text, and predicts every token of the next frame from all tokens before it:

    z_0^1 ... z_0^K  a_0  z_1^1 ... z_1^K  a_1  ...

What stands after a token is read where that token stands; after an action come the reward, the end
and the next frame's first token, so all three are read at the action. Rows of data are in the
arrival convention: the action in row t + 1 is a_t, the one after frame t.

Shape key: B batch, T time, L frames that fit the window, K tokens per frame, V vocabulary, A
actions, D width, N = L (K + 1) slots of memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium as gym
import torch
from gymnasium.spaces import Discrete
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from utils.nn.one_hot import draw
from utils.nn.random import uniform
from utils.nn.transformer import Attention, Memory, Transformer
from utils.world import Dreamt, Spec, State, Step, where


@dataclass(frozen=True)
class Config:
    """The official model has width 256, 10 layers, 4 heads, 20 frames, and keeps 1."""

    width: int = 64  # D
    layers: int = 2
    heads: int = 4
    frames: int = 3  # L, that fit the window
    keep: int = 2  # of them, when the window is full; the official code keeps 1
    changed: float = 1.0  # weight of a token that differs from the one in the frame before


def head(width: int, outputs: int) -> nn.Sequential:
    """One hidden layer, as each of the official heads."""
    layers = nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)
    for layer in (layers[0], layers[2]):
        nn.init.normal_(layer.weight, std=0.02)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


class IRIS(nn.Module):
    """The world model. State: the frames of the window, oldest first, and what the transformer has
    made of them.

        tokens [B, L, K], action [B, L] (the one after each frame), frames [B] (how many there are),
        keys and values [B, layers, heads, N, d] (`Memory`)

    The memory holds all tokens but the newest frame's last one: that goes in together with the next
    action, two tokens in one pass. Slots that are not filled are zero.

    Args:
        tokenizer: as in `utils/worlds/iris_tokenizer.py`; it is not trained by `loss`.
        attention: class to build it from, for whoever changes it.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        tokenizer: nn.Module,
        config: Config,
        *,
        attention: type[Attention] = Attention,
    ) -> None:
        super().__init__()
        if not isinstance(action_space, Discrete):
            raise TypeError(f"An action is one token here: {action_space} must be Discrete.")
        if not 1 <= config.keep < config.frames:
            raise ValueError(f"A window of {config.frames} frames cannot keep {config.keep}.")
        self.config, self.tokenizer = config, tokenizer
        self.spec = Spec(observation_space, action_space, differentiable=False)
        self.block = tokenizer.tokens + 1  # K + 1: a frame and an action
        width, slots = config.width, config.frames * self.block
        self.token = nn.Embedding(tokenizer.vocabulary, width)
        self.action = nn.Embedding(self.spec.action_size, width)
        self.position = nn.Embedding(slots, width)
        for table in (self.token, self.action, self.position):
            nn.init.normal_(table.weight, std=0.02)
        self.transformer = Transformer(width, config.layers, config.heads, attention=attention)
        self.to_token = head(width, tokenizer.vocabulary)
        self.to_reward = head(width, 3)  # -1, 0, 1
        self.to_end = head(width, 2)  # goes on, is over

    # ---- text and training

    @torch.no_grad()
    def encode(self, observation: Tensor) -> Int[Tensor, "*batch K"]:
        """Tokens of frames; the tokenizer learns nothing from what is done with them."""
        return self.tokenizer.encode(observation)

    def interleave(
        self, tokens: Int[Tensor, "B T K"], action: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B T*(K+1) D"]:
        """What the transformer reads: K tokens of a frame, the action after it, the next frame.

        `self.token` and `self.action` are the tables of vectors, `self.position.weight` [N, D] is
        added from slot 0 on.
        """
        blocks = torch.cat([self.token(tokens), self.action(action)[:, :, None]], 2)
        text = blocks.flatten(1, 2)
        return text + self.position.weight[: text.shape[1]]

    def predictors(self, outputs: Float[Tensor, "B S D"]) -> Float[Tensor, "B T-1 K D"]:
        """The outputs that predict frames 1 to T - 1: entry (t, k) is the one that stands just
        before token k of frame t + 1.

        `outputs` are those of a text z_0 a_0 z_1 a_1 ... z_{T-1} without its last token, S = T
        (K + 1) - 2 of them; `self.block` is K + 1. Before the first token of a frame stands an
        action, before each other one the token to its left. A frame's last token stands before an
        action, which nobody predicts, so it is in no entry; nor is what precedes the first action.
        """
        late = F.pad(outputs[:, self.block - 1 :], (0, 0, 0, 1))  # from a_0 on, in whole blocks
        return late.unflatten(1, (-1, self.block))[:, :, :-1]

    def logits(self, outputs: Float[Tensor, "B S D"]) -> Float[Tensor, "B T-1 K V"]:
        """Of every token of every frame but the first, in training."""
        return self.to_token(self.predictors(outputs))

    def objective(
        self, outputs: Float[Tensor, "B S D"], tokens: Int[Tensor, "B T K"], batch: Step
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """What frames 1 to T - 1 cost in nats, each with the reward and the end that came with it:
        three cross entropies, their sum, and the parts by name, detached.

        - "frame": `self.logits(outputs)` against the tokens, summed over the K of a frame. In the
          loss, not in the parts, a token that is not the one in the frame before counts
          `self.config.changed` times.
        - "reward": `self.to_reward` of the output at the action before the frame, against the sign
          of the reward as class 0, 1 or 2.
        - "end": `self.to_end` of the same output, against `terminated`.

        Each is a mean over the frames that lie in the episode of their window's first row.
        """
        logits, target = self.logits(outputs).flatten(0, -2), tokens[:, 1:]
        nats = F.cross_entropy(logits, target.flatten(), reduction="none").view(target.shape)
        weight = torch.where(target == tokens[:, :-1], 1.0, self.config.changed)
        at_action = outputs[:, self.block - 1 :: self.block]
        sign = batch.reward[:, 1:].sign().long() + 1
        reward = F.cross_entropy(self.to_reward(at_action).mT, sign, reduction="none")
        ended = batch.terminated[:, 1:].long()
        end = F.cross_entropy(self.to_end(at_action).mT, ended, reduction="none")

        inside = (batch.first[:, 1:].cumsum(1) == 0).to(nats.dtype)
        share = inside / inside.sum().clamp(min=1)
        parts = {"frame": nats.sum(-1), "reward": reward, "end": end}
        parts = {name: (part * share).sum() for name, part in parts.items()}
        loss = ((weight * nats).sum(-1) * share).sum() + parts["reward"] + parts["end"]
        return loss, {name: part.detach() for name, part in parts.items()}

    def loss(
        self, batch: Step, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor], State]:
        """Windows `[B, T, ...]` of 2 to L rows, all of it in one pass; also the states after the
        last row of each that lies in its first row's episode.

        Raises:
            ValueError: the windows are shorter than 2 rows or do not fit.
        """
        if not 2 <= (rows := batch.reward.shape[1]) <= self.config.frames:
            raise ValueError(
                f"Windows of {rows} rows: give 2 or more, and no more than the "
                f"{self.config.frames} frames that fit (Config.frames)."
            )
        tokens = self.encode(batch.observation)
        action = batch.action.argmax(-1).roll(-1, 1)
        outputs, memory = self.transformer(self.interleave(tokens, action)[:, :-2])
        loss, metrics = self.objective(outputs, tokens, batch)
        frames = 1 + (batch.first[:, 1:].cumsum(1) == 0).sum(1)
        return loss, metrics, self.state(tokens, action, frames, memory)

    # ---- states

    def state(
        self,
        tokens: Int[Tensor, "B T K"],
        action: Int[Tensor, "B T"],
        frames: Int[Tensor, " B"],
        memory: Memory,
    ) -> State:
        """A state of the first `frames` of T frames; what lies behind them becomes zero."""
        length = self.config.frames
        frame = torch.arange(length, device=frames.device)
        slot = torch.arange(length * self.block, device=frames.device)
        room = length - tokens.shape[1]
        filled = (slot < (frames * self.block)[:, None] - 2)[:, None, None, :, None]
        missing = len(slot) - memory.keys.shape[3]
        keys, values = (F.pad(part, (0, 0, 0, missing)) * filled for part in memory)
        return {
            "tokens": F.pad(tokens, (0, 0, 0, room)) * (frame < frames[:, None])[..., None],
            "action": F.pad(action, (0, room)) * (frame < frames[:, None] - 1),
            "frames": frames,
            "keys": keys,
            "values": values,
        }

    def read(
        self,
        tokens: Int[Tensor, "B T K"],
        action: Int[Tensor, "B T"],
        frames: Int[Tensor, " B"],
    ) -> State:
        """The same, with the memory that one pass over the text leaves."""
        _, memory = self.transformer(self.interleave(tokens, action))
        return self.state(tokens, action, frames, memory)

    def initial(self, batch: int) -> State:
        """No frame yet: nothing can be imagined."""
        length, device = self.config.frames, self.position.weight.device
        none = torch.zeros(batch, length, dtype=torch.long, device=device)
        memory = self.transformer.empty(batch, length * self.block)
        tokens = none[..., None].expand(-1, -1, self.block - 1)
        return self.state(tokens, none, none[:, 0], memory)

    def make_room(self, state: State, keep: int) -> State:
        """Rows whose window is full (`frames` is L) begin anew with their `keep` newest frames.

        These move to the front, with the actions after them, and are read again by
        `self.read(tokens, action, frames)`: their old keys knew of frames that are gone, and of
        places where they no longer stand. Other rows stay as they are.
        """
        full = state["frames"] == self.config.frames
        if not full.any():  # waits for a GPU, but saves a pass over the window
            return state
        tokens, action = state["tokens"][:, -keep:], state["action"][:, -keep:]
        kept = self.read(tokens, action, torch.full_like(state["frames"], keep))
        return where(full, kept, state)

    def append(
        self, state: State, action: Int[Tensor, " B"], tokens: Int[Tensor, "B K"]
    ) -> dict[str, Tensor]:
        """Text and its length with one frame more, reached by `action`."""
        row, frames = torch.arange(len(action), device=action.device), state["frames"]
        text = {"tokens": state["tokens"].clone(), "action": state["action"].clone()}
        text["tokens"][row, frames] = tokens
        text["action"][row, (frames - 1).clamp(min=0)] = action  # 0 if there was no frame before
        return text | {"frames": frames + 1}

    def observe(
        self,
        state: State,
        step: Step,
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> State:
        """A full window slides on by one frame; the whole of it is read again."""
        state = where(step.first, self.initial(len(step.first)), state)
        state = self.make_room(state, self.config.frames - 1)
        tokens = self.encode(step.observation)
        return self.read(**self.append(state, step.action.argmax(-1), tokens))

    # ---- dreams

    def imagine(
        self,
        state: State,
        action: Float[Tensor, "B A"],
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> Dreamt:
        """One frame, token by token, from a copy of the memory."""
        state = self.make_room(state, self.config.keep)
        memory = Memory(state["keys"].clone(), state["values"].clone())
        end = (int(state["frames"].max()) + 1) * self.block  # of the longest text, then
        text = Memory(*(part[..., :end, :] for part in memory))  # nobody looks behind it
        chosen, noise = action.argmax(-1), None
        output = self.enter(state, text, chosen)
        if not mode:
            noise = uniform((len(action), self.block - 1), output, generator)
        tokens = self.sample_frame(output, text, state["frames"] * self.block, noise)
        state = self.append(state, chosen, tokens) | memory._asdict()
        return Dreamt(state, *self.predict(output))

    def enter(
        self, state: State, memory: Memory, action: Int[Tensor, " B"]
    ) -> Float[Tensor, "B D"]:
        """Two tokens in one pass: the newest frame's last one, and the action. Returns the output
        at the action.

        They stand in the last two slots of block `state["frames"]`, counted from 1, of K + 1 =
        `self.block` slots. Their vectors are `self.token(...)` and `self.action(action)`, plus
        `self.position(slot)` each; `self.transformer.extend(x [B, 2, D], memory, slot of the
        first)` writes them into the memory.
        """
        row = torch.arange(len(action), device=action.device)
        last = state["tokens"][row, state["frames"] - 1, -1]
        start = state["frames"] * self.block - 2
        slot = start[:, None] + torch.arange(2, device=action.device)
        pair = torch.stack([self.token(last), self.action(action)], 1) + self.position(slot)
        return self.transformer.extend(pair, memory, start)[:, -1]

    def sample_frame(
        self,
        output: Float[Tensor, "B D"],
        memory: Memory,
        start: Int[Tensor, " B"],
        noise: Float[Tensor, "B K"] | None,
    ) -> Int[Tensor, "B K"]:
        """The K tokens of a frame, one after the other.

        `output` is the transformer's at the action. `self.to_token(output)` are the logits of the
        first token, which `draw(probability, noise[:, 0])` draws; without noise it is the most
        likely one. Its vector `self.token(token)` plus that of its slot, `self.position(start)`,
        goes in: `self.transformer.extend(x [B, 1, D], memory, start)` gives the next output. And so
        on, one slot further each time. The last token is not fed: it goes in with the next action.
        """
        tokens = []
        for k in range(self.block - 1):
            if k > 0:
                x = self.token(tokens[-1]) + self.position(start + k - 1)
                output = self.transformer.extend(x[:, None], memory, start + k - 1)[:, 0]
            probability = self.to_token(output).softmax(-1)
            token = probability.argmax(-1) if noise is None else draw(probability, noise[:, k])
            tokens.append(token)
        return torch.stack(tokens, 1)

    def predict(
        self, output: Float[Tensor, "*batch D"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
        """From the output at an action: the expected sign of the reward that comes next, and the
        probability that the episode goes on."""
        reward = self.to_reward(output).softmax(-1)
        return reward[..., 2] - reward[..., 0], self.to_end(output).softmax(-1)[..., 0]

    def decode(self, state: State) -> Tensor:
        row = torch.arange(len(state["frames"]), device=state["frames"].device)
        return self.tokenizer.decode(state["tokens"][row, state["frames"] - 1])


class Factorised(IRIS):
    """The same transformer, but all K tokens of a frame are predicted from the action at once, each
    by itself: what a world does that draws the parts of a frame independently."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.to_token = head(self.config.width, (self.block - 1) * self.tokenizer.vocabulary)

    def at_once(self, output: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch K V"]:
        """Logits of a whole frame, from the output at the action before it."""
        return self.to_token(output).unflatten(-1, (self.block - 1, -1))

    def logits(self, outputs: Float[Tensor, "B S D"]) -> Float[Tensor, "B T-1 K V"]:
        return self.at_once(outputs[:, self.block - 1 :: self.block])

    def sample_frame(
        self,
        output: Float[Tensor, "B D"],
        memory: Memory,
        start: Int[Tensor, " B"],
        noise: Float[Tensor, "B K"] | None,
    ) -> Int[Tensor, "B K"]:
        """All at once; all but the last go into the memory in one pass."""
        probability = self.at_once(output).softmax(-1)
        tokens = probability.argmax(-1) if noise is None else draw(probability, noise)
        place = start[:, None] + torch.arange(self.block - 2, device=start.device)
        self.transformer.extend(self.token(tokens[:, :-1]) + self.position(place), memory, start)
        return tokens
