"""Lesson 4.1: probes, named mistakes, right answers written differently, hints."""

import gymnasium as gym
import torch
from torch import nn
from torch.nn.functional import one_hot

from utils.course.exercise import Mistake, exercise
from utils.course.probes import gradient, normal, uniform
from utils.data import teleport
from utils.nn import transformer
from utils.nn.one_hot import draw
from utils.nn.transformer import Memory
from utils.world import where
from utils.worlds import iris
from utils.worlds.iris_tokenizer import VectorQuantizer, nearest

LESSON = "4.1"
TWO_AXES = "there are two axes: axis 1 is the last"
B, T, K, V, D = 3, 4, 5, 6, 8  # windows, frames, tokens of a frame, vocabulary, width


def whole(rng, high, *shape):
    return torch.as_tensor(rng.integers(0, high, shape))


def codebook(Quantizer, rng, commitment=0.25):
    """With codes apart from each other, two of them the same."""
    quantizer = Quantizer(7, 3, commitment)
    with torch.no_grad():
        quantizer.codes.copy_(normal(rng, 7, 3))
        quantizer.codes[5] = quantizer.codes[2]
    return quantizer


class Cells(nn.Module):
    """A tokenizer for frames whose cells are the tokens themselves."""

    vocabulary, tokens = V, K

    def encode(self, frames):
        return frames.argmax(-1)

    def decode(self, tokens):
        return one_hot(tokens, V).float()


def small_world(World, rng, **config):
    """With weights that say something: at the start all logits are nearly alike."""
    torch.manual_seed(int(rng.integers(2**31)))
    sizes = iris.Config(**({"width": D, "layers": 2, "heads": 2, "frames": T} | config))
    world = World(gym.spaces.MultiBinary((K, V)), gym.spaces.Discrete(3), Cells(), sizes)
    with torch.no_grad():
        for parameter in world.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return world


def read(world, rng, *frames):
    """A state whose rows hold so many frames."""
    tokens, action = whole(rng, V, len(frames), T, K), whole(rng, 3, len(frames), T)
    with torch.no_grad():
        return world.read(tokens, action, torch.tensor(frames))


# 4.1.1 ------------------------------------------------------------------------------------------


def quantise_by_distances(self, z):
    distance = (z.unsqueeze(-2) - self.codes).pow(2).sum(-1)
    tokens = distance.argmin(-1)
    code = torch.nn.functional.embedding(tokens, self.codes).detach()
    return z - z.detach() + code, tokens


@exercise(
    "4.1.1",
    VectorQuantizer.quantise,
    points=3,
    difficulty=2,
    minutes=15,
    hints=(
        "`nearest(z, self.codes)` gives the tokens, `self.codes[tokens]` their codes. Rounding has "
        "no gradient: how can a number be the code forward, and z backward?",
        "z + (code - z).detach(): forward the two z cancel, backward only the first one is there.",
    ),
    mistakes=(
        Mistake(
            "the code is returned as it is: no gradient reaches z, and the encoder learns nothing",
            "z + (self.codes[tokens] - z).detach()",
            "self.codes[tokens]",
        ),
        Mistake(
            "the result is z, not the code",
            "z + (self.codes[tokens] - z).detach()",
            "z",
        ),
        Mistake(
            "the gradient reaches the codes as well: the difference must be cut off as a whole",
            "(self.codes[tokens] - z).detach()",
            "(self.codes[tokens] - z.detach())",
        ),
    ),
    alternatives=(quantise_by_distances,),
)
def _(Quantizer, rng):
    quantizer = codebook(Quantizer, rng)
    z = normal(rng, 4, 5, 3).requires_grad_()
    rounded, tokens = quantizer.quantise(z)
    weighted = (rounded * normal(rng, 4, 5, 3)).sum()
    one, which = quantizer.quantise(quantizer.codes.detach()[4])
    return {
        "tokens": tokens,
        "result": rounded.detach(),
        "gradient of z": gradient(weighted, z),
        "gradient of the codes": gradient(weighted, quantizer.codes),
        "a code itself": one.detach(),
        "the token of a code": which,
    }


# 4.1.2 ------------------------------------------------------------------------------------------


def loss_by_terms(self, z, tokens):
    code, still = self.codes[tokens], self.codes.detach()[tokens]
    pull_codes = torch.nn.functional.mse_loss(code, z.detach())
    pull_vectors = torch.nn.functional.mse_loss(z, still)
    return pull_codes + pull_vectors * self.commitment


@exercise(
    "4.1.2",
    VectorQuantizer.loss,
    core=False,
    points=2,
    difficulty=2,
    minutes=10,
    bug="stop",
    gradients=True,
    hints=(
        "Both terms have the same value. Which of the two may move what?",
        "The first term moves codes only: there z must be cut off. The second moves vectors only.",
    ),
    mistakes=(
        Mistake(
            "the term of the codebook moves the vectors too: z is not cut off there, so they are "
            "pulled 1 + beta times",
            "(z.detach() - codes)",
            "(z - codes)",
            "stop",
        ),
        Mistake(
            "the commitment moves the codes too: they are not cut off there",
            "(z - codes.detach())",
            "(z - codes)",
        ),
        Mistake(
            "the commitment is not weighted by beta",
            "self.commitment * commitment",
            "commitment",
        ),
        Mistake(
            "the weight is at the other term",
            "codebook + self.commitment * commitment",
            "self.commitment * codebook + commitment",
        ),
    ),
    alternatives=(loss_by_terms,),
)
def _(Quantizer, rng):
    found = {}
    for beta in (0.25, 1.0):
        quantizer = codebook(Quantizer, rng, beta)
        z = normal(rng, 4, 5, 3).requires_grad_()
        loss = quantizer.loss(z, whole(rng, 7, 4, 5))
        found |= {
            f"loss, beta {beta}": loss.detach(),
            f"gradient of z, beta {beta}": gradient(loss, z),
            f"gradient of the codes, beta {beta}": gradient(loss, quantizer.codes),
        }
    return found


# 4.1.3 ------------------------------------------------------------------------------------------


def revive_one_by_one(self, z, index):
    living, moved = set(nearest(z, self.codes).tolist()), 0
    with torch.no_grad():
        for code in range(len(self.codes)):
            if code not in living:
                self.codes[code] = z[index[code]]
                moved += 1
    return torch.tensor(moved)


@exercise(
    "4.1.3",
    VectorQuantizer.revive,
    core=False,
    points=2,
    difficulty=2,
    minutes=10,
    hints=(
        "torch.bincount(nearest(z, self.codes), minlength=V) says how often each code is the "
        "nearest.",
        "self.codes.copy_(torch.where(used[:, None], self.codes, z[index])), and the number of "
        "those that are not used.",
    ),
    mistakes=(
        Mistake(
            "codes that are in use are moved, and dead ones stay",
            "torch.where(used[:, None], self.codes, z[index])",
            "torch.where(used[:, None], z[index], self.codes)",
        ),
        Mistake(
            "all codes are moved",
            "torch.where(used[:, None], self.codes, z[index])",
            "z[index]",
        ),
        Mistake("it counts the codes in use, not those moved", "(~used).sum()", "used.sum()"),
        Mistake(
            "a code that is used once counts as dead",
            "minlength=len(self.codes)) > 0",
            "minlength=len(self.codes)) > 1",
        ),
        Mistake(
            "a new table takes the place of the old one, which the optimiser goes on holding: "
            "change self.codes in place",
            "self.codes.copy_(torch.where(used[:, None], self.codes, z[index]))",
            "self.codes = torch.nn.Parameter(torch.where(used[:, None], self.codes, z[index]))",
        ),
    ),
    alternatives=(revive_one_by_one,),
)
def _(Quantizer, rng):
    quantizer = codebook(Quantizer, rng)
    z = normal(rng, 9, 3)
    with torch.no_grad():
        quantizer.codes[[1, 4]] = 50.0 + normal(rng, 2, 3)
        quantizer.codes[0] = z[3] + 0.01  # the nearest of one vector at least
        quantizer.codes[6] = 9.0  # the nearest of one vector
        z[0] = 8.0
    table = quantizer.codes  # which the optimiser holds
    count = quantizer.revive(z, whole(rng, 9, 7))
    return {
        "codes": table.detach().clone(),
        "how many were moved": torch.as_tensor(count),
        "and of another batch": torch.as_tensor(quantizer.revive(z[:4], whole(rng, 4, 7))),
        "codes after it": table.detach(),
    }


# 4.1.4 ------------------------------------------------------------------------------------------


def torn_in_loops(probability, outcomes):
    nats, valid = torch.zeros_like(probability[0]), torch.zeros_like(probability[0])
    for p, outcome in zip(probability, outcomes, strict=True):
        product = torch.ones_like(p)
        for k, value in enumerate(outcome):
            product = product * probability[outcomes[:, k] == value].sum()
        nats, valid = nats - p * product.log(), valid + product
    return nats, valid


@exercise(
    "4.1.4",
    teleport.torn,
    points=2,
    difficulty=2,
    minutes=15,
    hints=(
        "one_hot(outcomes) is [S, K, V]. Weighted by the probabilities and summed over S it is the "
        "marginal of every part.",
        "chance[s, k] is the marginal at outcome s's value of part k: (marginal * parts).sum(-1). "
        "A frame's probability is the product over its parts, its log the sum of logs.",
    ),
    mistakes=(
        Mistake(
            "the outcomes are not weighted by their probability in the marginals",
            "(probability[:, None, None] * parts).sum(0)",
            "parts.mean(0)",
        ),
        Mistake(
            "the cross entropy is a plain mean over the outcomes",
            "-(probability * chance.log().sum(-1)).sum()",
            "-chance.log().sum(-1).mean()",
        ),
        Mistake(
            "the cross entropy is that of one part, not of a whole frame",
            "chance.log().sum(-1)",
            "chance.log().mean(-1)",
        ),
        Mistake(
            "the chance of a real frame is weighted by how probable that frame is in the world",
            "chance.prod(-1).sum()",
            "(probability * chance.prod(-1)).sum()",
        ),
        Mistake(
            "the chances of the parts are added; all of them must come true",
            "chance.prod(-1)",
            "chance.sum(-1)",
        ),
    ),
    alternatives=(torn_in_loops,),
    equivalents={
        "nats = -(probability * chance.log().sum(-1)).sum() -> "
        "nats = -(probability * chance.log().sum(1)).sum()": TWO_AXES,
        "return (nats, chance.prod(-1).sum()) -> return (nats, chance.prod(1).sum())": TWO_AXES,
    },
    rtol=1e-6,
)
def _(torn, rng):
    found = {}
    corners = torch.zeros(4, 16, dtype=torch.long)
    corners[torch.arange(4), list(teleport.CORNERS)] = 1
    every = torch.cartesian_prod(*[torch.arange(3)] * 4)
    some = every[torch.as_tensor(rng.permutation(81)[:7])]
    share = torch.as_tensor(rng.dirichlet([1.0] * 7))
    for name, p, outcomes in (
        ("teleport", torch.full((4,), 0.25).double(), corners),
        ("certainty", torch.ones(1).double(), corners[:1]),
        ("any distribution", share, some),
    ):
        nats, valid = torn(p, outcomes)
        found |= {f"nats, {name}": nats, f"valid, {name}": valid}
    return found


# 4.1.5 ------------------------------------------------------------------------------------------


def interleave_by_filling(self, tokens, action):
    batch, time, per_frame = tokens.shape
    text = torch.empty(batch, time, per_frame + 1, self.position.weight.shape[1])
    text[:, :, :per_frame] = self.token(tokens)
    text[:, :, per_frame] = self.action(action)
    text = text.reshape(batch, time * (per_frame + 1), -1)
    return text + self.position(torch.arange(text.shape[1]))


@exercise(
    "4.1.5",
    iris.IRIS.interleave,
    points=2,
    difficulty=2,
    minutes=10,
    hints=(
        "self.token(tokens) is [B, T, K, D], self.action(action) is [B, T, D]. With an axis more "
        "the action is one more token of its frame.",
        "torch.cat([..., self.action(action)[:, :, None]], 2).flatten(1, 2); then the first "
        "T (K + 1) rows of self.position.weight.",
    ),
    mistakes=(
        Mistake(
            "the action stands before its frame; it is the one after it",
            "[self.token(tokens), self.action(action)[:, :, None]]",
            "[self.action(action)[:, :, None], self.token(tokens)]",
        ),
        Mistake(
            "positions begin anew in every frame",
            "text + self.position.weight[: text.shape[1]]",
            "text + self.position.weight[: self.block].repeat(tokens.shape[1], 1)",
        ),
        Mistake(
            "positions are left out",
            "text + self.position.weight[: text.shape[1]]",
            "text",
        ),
        Mistake(
            "positions begin at slot 1",
            "self.position.weight[: text.shape[1]]",
            "self.position.weight.roll(-1, 0)[: text.shape[1]]",
        ),
        Mistake(
            "all frames stand first, and their actions behind them",
            "blocks.flatten(1, 2)",
            "blocks.transpose(1, 2).flatten(1, 2)",
        ),
    ),
    alternatives=(interleave_by_filling,),
)
def _(World, rng):
    world = small_world(World, rng)
    tokens, action = whole(rng, V, B, T, K), whole(rng, 3, B, T)
    return {
        "text": world.interleave(tokens, action).detach(),
        "text of fewer frames": world.interleave(tokens[:, :2], action[:, :2]).detach(),
    }


# 4.1.6 ------------------------------------------------------------------------------------------


def predictors_by_index(self, outputs):
    per_frame = self.block - 1
    frames = (outputs.shape[1] + 2) // self.block
    place = [[t * self.block - 1 + k for k in range(per_frame)] for t in range(1, frames)]
    return outputs[:, torch.tensor(place)]


@exercise(
    "4.1.6",
    iris.IRIS.predictors,
    points=3,
    difficulty=3,
    minutes=20,
    hints=(
        "Write the text of two frames of three tokens: z z z a z z (z). Which places stand just "
        "before the three tokens of the second frame? 3, 4 and 5, from the action on.",
        "From the first action on, the outputs are blocks of K + 1 in which the last one is of no "
        "use; only the last block lacks it. F.pad(x, (0, 0, 0, 1)) adds one at the end.",
        "F.pad(outputs[:, self.block - 1 :], (0, 0, 0, 1)).unflatten(1, (-1, self.block))[:, :, "
        ":-1]",
    ),
    mistakes=(
        Mistake(
            "an output stands for its own token; it predicts the one after it, so a frame begins "
            "at the action before it",
            "outputs[:, self.block - 1 :], (0, 0, 0, 1)",
            "outputs[:, self.block :], (0, 0, 0, 2)",
        ),
        Mistake(
            "it begins one place too early",
            "outputs[:, self.block - 1 :], (0, 0, 0, 1)",
            "outputs[:, self.block - 2 : -1], (0, 0, 0, 1)",
        ),
    ),
    alternatives=(predictors_by_index,),
)
def _(World, rng):
    world = small_world(World, rng)
    found = {}
    for frames in (2, 4):
        outputs = normal(rng, B, frames * (K + 1) - 2, D)
        found[f"predictors of {frames} frames"] = world.predictors(outputs)
    return found


# 4.1.7 ------------------------------------------------------------------------------------------


def sample_frame_with_fed(self, output, memory, start, noise):
    found = torch.empty(len(output), self.block - 1, dtype=torch.long)
    for k in range(found.shape[1]):
        logits = self.to_token(output)
        if noise is None:
            found[:, k] = logits.argmax(-1)
        else:
            found[:, k] = draw(logits.softmax(-1), noise[:, k])
        if k == found.shape[1] - 1:
            return found
        fed = (self.token(found[:, k]) + self.position(start + k)).unsqueeze(1)
        output = self.transformer.extend(fed, memory, start + k).squeeze(1)


@exercise(
    "4.1.7",
    iris.IRIS.sample_frame,
    points=3,
    difficulty=3,
    minutes=20,
    hints=(
        "Each round: logits from the output, a token from the logits, and, unless it was the last, "
        "the token goes in and gives the next output.",
        "Token k stands in slot start + k. The first logits come from `output` as it was given: "
        "nothing is fed before them.",
        "x = self.token(token) + self.position(start + k); output = "
        "self.transformer.extend(x[:, None], memory, start + k)[:, 0]",
    ),
    mistakes=(
        Mistake(
            "every token is drawn from the output at the action, so that they do not know of each "
            "other",
            "output = self.transformer.extend(x[:, None], memory, start + k - 1)[:, 0]",
            "self.transformer.extend(x[:, None], memory, start + k - 1)",
        ),
        Mistake(
            "each token's place is that of the first",
            "self.position(start + k - 1)",
            "self.position(start)",
        ),
        Mistake(
            "the tokens are written over each other: the slot must move on",
            "self.transformer.extend(x[:, None], memory, start + k - 1)",
            "self.transformer.extend(x[:, None], memory, start)",
        ),
        Mistake(
            "all tokens of a frame use the same noise",
            "draw(probability, noise[:, k])",
            "draw(probability, noise[:, 0])",
        ),
        Mistake(
            "noise is ignored: the most likely token is taken always",
            "probability.argmax(-1) if noise is None else draw(probability, noise[:, k])",
            "probability.argmax(-1)",
        ),
        Mistake(
            "the last token goes in as well; it is to go in together with the next action",
            "    return torch.stack(tokens, 1)",
            "    x = self.token(tokens[-1]) + self.position(start + k)\n"
            "    self.transformer.extend(x[:, None], memory, start + k)\n"
            "    return torch.stack(tokens, 1)",
        ),
        Mistake(
            "the vector of a position is added one slot too late",
            "self.token(tokens[-1]) + self.position(start + k - 1)",
            "self.token(tokens[-1]) + self.position(start + k)",
        ),
    ),
    alternatives=(sample_frame_with_fed,),
    equivalents={
        "output = self.transformer.extend(x[:, None], memory, start + k - 1)[:, 0] -> "
        "output = self.transformer.extend(x[:, None], memory, start + k - 1)[:, -1]": (
            "one token goes in, so the first output is the last"
        ),
        "probability = self.to_token(output).softmax(-1) -> "
        "probability = self.to_token(output).softmax(1)": TWO_AXES,
        "token = probability.argmax(-1) if noise is None else draw(probability, noise[:, k]) -> "
        "token = probability.argmax(1) if noise is None else draw(probability, noise[:, k])": (
            TWO_AXES
        ),
    },
)
def _(World, rng):
    found = {}
    for number in range(5):  # in one world tokens may come out alike by chance
        world = small_world(World, rng)
        state = read(world, rng, 1, 2, 3)
        for name, noise in (("most likely", None), ("drawn", uniform(rng, 3, K))):
            memory = Memory(state["keys"].clone(), state["values"].clone())
            with torch.no_grad():
                output = iris.IRIS.enter(world, state, memory, whole(rng, 3, 3))
                tokens = world.sample_frame(output, memory, state["frames"] * (K + 1), noise)
            named = f"{name}, world {number}"
            found |= {f"tokens, {named}": tokens, f"keys, {named}": memory.keys}
    return found


# 4.1.8 ------------------------------------------------------------------------------------------


def enter_row_by_row(self, state, memory, action):
    pairs, slots = [], []
    for row, frames in enumerate(state["frames"].tolist()):
        token = state["tokens"][row, frames - 1, self.block - 2]
        slot = frames * self.block - 2
        pair = torch.stack([self.token(token), self.action(action[row])])
        pairs.append(pair + self.position.weight[slot : slot + 2])
        slots.append(slot)
    return self.transformer.extend(torch.stack(pairs), memory, torch.tensor(slots))[:, 1]


@exercise(
    "4.1.8",
    iris.IRIS.enter,
    core=False,
    points=2,
    difficulty=2,
    minutes=10,
    bug="offset",
    hints=(
        "In which slots do the two tokens stand, and which vectors of position do they get?",
        "A token that comes third gets the third vector, whether the two before it are read again "
        "or come from memory: slot = start[:, None] + torch.arange(2).",
    ),
    mistakes=(
        Mistake(
            "positions are counted from 0 in every pass; they must go on where the memory ends",
            "start[:, None] + torch.arange(2, device=action.device)",
            "torch.arange(2, device=action.device).expand(len(action), 2)",
            "offset",
        ),
        Mistake(
            "the token that goes in is the frame's first, not its last",
            'state["frames"] - 1, -1]',
            'state["frames"] - 1, 0]',
        ),
        Mistake(
            "the output is the one at the frame's last token, which does not know the action",
            "memory, start)[:, -1]",
            "memory, start)[:, 0]",
        ),
        Mistake(
            "action and token are in the wrong order",
            "[self.token(last), self.action(action)]",
            "[self.action(action), self.token(last)]",
        ),
    ),
    alternatives=(enter_row_by_row,),
    equivalents={
        "return self.transformer.extend(pair, memory, start)[:, -1] -> "
        "return self.transformer.extend(pair, memory, start)[:, 1]": (
            "two tokens go in, so the second output is the last"
        ),
    },
)
def _(World, rng):
    world = small_world(World, rng)
    state = read(world, rng, 1, 3, 2)
    memory = Memory(state["keys"].clone(), state["values"].clone())
    with torch.no_grad():
        output = world.enter(state, memory, whole(rng, 3, 3))
    return {"output": output, "keys": memory.keys, "values": memory.values}


# 4.1.9 ------------------------------------------------------------------------------------------


def attend_by_hand(self, x, keys, values, position, mask):
    q, k, v = self.split(x)
    for row in range(len(x)):
        for t in range(x.shape[1]):
            keys[row, :, position[row, t]] = k[row, :, t]
            values[row, :, position[row, t]] = v[row, :, t]
    score = q @ keys.mT / q.shape[-1] ** 0.5
    weight = score.masked_fill(~mask, -torch.inf).softmax(-1)
    return self.out((weight @ values).permute(0, 2, 1, 3).reshape(x.shape))


@exercise(
    "4.1.9",
    transformer.Attention.attend,
    core=False,
    points=3,
    difficulty=3,
    minutes=20,
    hints=(
        "`q, k, v = self.split(x)`, each [B, heads, T, d]. Write k and v into their slots first: a "
        "token sees itself.",
        "With row = torch.arange(B)[:, None], keys[row, :, position] is [B, T, heads, d]: k and v "
        "must be transposed to it.",
        "scaled_dot_product_attention(q, keys, values, attn_mask=mask), then the heads side by "
        "side: .transpose(1, 2).flatten(2), and self.out.",
    ),
    mistakes=(
        Mistake(
            "new values are not written: a token sees its key and not its value",
            "    values[row, :, position] = v.permute(0, 2, 1, 3)\n",
            "",
        ),
        Mistake(
            "new keys are not written",
            "    keys[row, :, position] = k.permute(0, 2, 1, 3)\n",
            "",
        ),
        Mistake(
            "the mask is left out: slots that are empty or later are seen",
            "attn_mask=mask",
            "attn_mask=None",
        ),
        Mistake(
            "keys and values are taken for each other",
            "q, keys, values, attn_mask",
            "q, values, keys, attn_mask",
        ),
        Mistake(
            "the heads are mixed up: they must stand side by side in each token",
            "y.transpose(1, 2).flatten(2)",
            "y.reshape(x.shape)",
        ),
    ),
    alternatives=(attend_by_hand,),
    equivalents={
        "return self.out(y.transpose(1, 2).flatten(2)) -> "
        "return self.out(y.transpose(2, 1).flatten(2))": "two axes change places either way",
    },
)
def _(Attention, rng):
    torch.manual_seed(int(rng.integers(2**31)))
    attention = Attention(12, 3)
    x, memory = normal(rng, B, 2, 12), normal(rng, 2, B, 3, 9, 4)
    position = torch.tensor([[2, 3], [6, 7], [0, 1]])
    mask = transformer.visible(position, 9)
    with torch.no_grad():
        y = attention.attend(x, *memory, position, mask)
    return {"y": y, "keys": memory[0], "values": memory[1]}


# 4.1.10 -----------------------------------------------------------------------------------------


def make_room_row_by_row(self, state, keep):
    length, rows = self.config.frames, []
    for i, frames in enumerate(state["frames"].tolist()):
        one = {name: value[i : i + 1] for name, value in state.items()}
        if frames == length:
            text = (one[name][:, length - keep :] for name in ("tokens", "action"))
            one = self.read(*text, torch.tensor([keep]))
        rows.append(one)
    return {name: torch.cat([row[name] for row in rows]) for name in state}


def make_room_for_all(self, state, keep):
    begun = self.config.frames - keep
    frames = torch.full((len(state["frames"]),), keep)
    kept = self.read(state["tokens"][:, begun:], state["action"][:, begun:], frames)
    return where(state["frames"] == self.config.frames, kept, state)


@exercise(
    "4.1.10",
    iris.IRIS.make_room,
    core=False,
    points=2,
    difficulty=2,
    minutes=15,
    hints=(
        "Read all rows anew as if they were full, and take the result where they are: "
        "`where(full, kept, state)`, where full is [B].",
        "The newest frames of a full window: state['tokens'][:, -keep:]; the same of its actions. "
        "How many frames the new state has must be told: keep, for every row.",
    ),
    mistakes=(
        Mistake(
            "the oldest frames are kept, not the newest",
            'state["tokens"][:, -keep:], state["action"][:, -keep:]',
            'state["tokens"][:, :keep], state["action"][:, :keep]',
        ),
        Mistake(
            "rows that have room begin anew as well",
            "return where(full, kept, state)",
            "return kept",
        ),
        Mistake(
            "nothing makes room: a full window stays full",
            "return where(full, kept, state)",
            "return state",
        ),
        Mistake(
            "the actions kept are the oldest: each belongs to the frame before it",
            'state["action"][:, -keep:]',
            'state["action"][:, :keep]',
        ),
        Mistake(
            "only the frames are counted anew, and the keys stay those of the old window",
            "return where(full, kept, state)",
            'return where(full, kept, state) | {"keys": state["keys"], "values": state["values"]}',
        ),
    ),
    alternatives=(make_room_row_by_row, make_room_for_all),
)
def _(World, rng):
    world = small_world(World, rng)
    found = {}
    for keep in (1, 3):
        state = read(world, rng, T, 2, T, T - 1)
        with torch.no_grad():
            after = world.make_room(state, keep)
        found |= {f"{name}, keep {keep}": value for name, value in after.items()}
    roomy = read(world, rng, 1, 3)
    return found | {f"{k}, none full": v for k, v in world.make_room(roomy, 1).items()}
