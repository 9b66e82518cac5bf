"""An example of the memo of lesson 3.3."""

from __future__ import annotations

from utils.evaluate.memo import MORE, REQUIRED, Cited, Measured


def memo(evidence: dict[str, Measured]) -> tuple[dict[str, Cited], str]:
    """The memo "Dreamer or MuZero?": its numbers, and its text in Markdown, one page at most.

    Numbers are taken from `evidence` (name -> value, unit, source, ...), never typed: a memo must
    follow when they are measured anew. Both arms of each topic have to be cited; `REQUIRED` lists
    the names, `MORE` those that one may cite besides. The text cites a number by its name in
    braces, `{distractors: MuZero}`, and holds no other numbers (words such as DreamerV3 and "lesson
    3.1" are none); every number is cited in it.

    Returns numbers (name -> `Cited(value, unit)`) and text.
    """
    numbers = {name: Cited(evidence[name].value, evidence[name].unit) for name in REQUIRED + MORE}
    text = """
**Dreamer or MuZero?** Take MuZero where a decision hangs on steps to come and the rest is quiet
or does not matter; take Dreamer where what to do can be seen, where decisions must be quick, or
where the reward may change.

**A task that needs planning.** On the descent, after {real steps: planning} real steps each,
MuZero with {simulations: MuZero} simulations earns {return, planning: MuZero}, DreamerV3
{return, planning: DreamerV3}. The search is part of it: MuZero's policy alone has {policy
alone, planning: MuZero}. Each slope is new, so an answer learned beforehand does not fit, while
a step of the model is easy to learn.

**A reactive task.** On CartPole, after {real steps: reactive} real steps each, DreamerV3 keeps
the pole up for {return, reactive: DreamerV3}, MuZero for {return, reactive: MuZero}, and for
{policy alone, reactive: MuZero} if it does not search. What to do can be read off what is seen.
A tree has little to add, and its model has errors.

**Cost.** A decision of MuZero's takes {forward passes: MuZero} steps of its model, one for each
simulation, and {time of a decision: MuZero}. Dreamer's takes {forward passes: DreamerV3}, and
{time of a decision: DreamerV3}: it practised before.

**What the state keeps.** With noise beside the signal, MuZero predicts the reward five steps
ahead ({distractors: MuZero}) and DreamerV3 does not ({distractors: DreamerV3}): reconstruction
pays for what is loud. The reverse side is re-use. Under a reward that nobody trained on,
planning in DreamerV3's dream earns {new reward: DreamerV3}. MuZero cannot be asked about it,
and earns {new reward: MuZero}.

**Chance.** A deterministic model merges what may happen: a gamble that is worth {chance: with
chance nodes} looks like {chance: deterministic model}, less than the safe alternative. Where
chance matters, MuZero needs chance nodes. Dreamer draws its latents, and each dream is one of
the things that may happen.

**Limits.** My own runs are one seed each; the table has the intervals of the stored evidence
beside them. DreamerV3's number on CartPole is from lesson 2.4, with a larger state and a longer
horizon. Both agents are tiny, trained for seconds and hardly tuned; more updates for each real
step might close the gap on the descent. A planning task with a hard model was not measured. I
would change my mind on MuZero if its model were wrong where the search looks.
"""
    return numbers, text
