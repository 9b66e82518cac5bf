"""Small numpy functions: the subject of the demo lesson that tests the machinery."""

import numpy as np


def symlog(x: np.ndarray) -> np.ndarray:
    """sign(x) ln(|x| + 1), elementwise.

    Args:
        x: any real numbers.
    Returns:
        the squashed numbers, same shape; 0 stays 0.
    """
    # log1p keeps small numbers exact where log(1 + x) rounds them away.
    return np.sign(x) * np.log1p(np.abs(x))


def lambda_return(reward: np.ndarray, value: np.ndarray, gamma: float, lam: float) -> np.ndarray:
    """The λ-return of each step, last to first.

    G_t = r_t + γ ((1 - λ) v_{t+1} + λ G_{t+1}), and G_T = v_T.

    Args:
        reward: [T]. value: [T + 1], the last one bootstraps. gamma: discount. lam: mixture.
    Returns:
        [T].
    """
    out, last = np.empty_like(reward), value[-1]
    for t in reversed(range(len(reward))):
        last = reward[t] + gamma * ((1 - lam) * value[t + 1] + lam * last)
        out[t] = last
    return out


class Memory:
    """The last reward seen for each state; 0 where none was."""

    def __init__(self) -> None:
        self.seen = {}

    def write(self, state: int, reward: float) -> None:
        """Remembers the reward of a state, in place of an older one."""
        self.seen[state] = reward

    def read(self, state: int) -> float:
        """The remembered reward."""
        return self.seen.get(state, 0.0)


class Walk:
    """A walker on a line of cells, walls at both ends."""

    def __init__(self, cells: int = 5) -> None:
        self.cells = cells

    def step(self, cell: int, move: int) -> int:
        """The cell after a move of -1, 0 or 1.

        Args:
            cell: 0 to cells - 1.
        Returns:
            the next cell; a wall stops the walker.
        """
        return min(max(cell + move, 0), self.cells - 1)


def softmax(x: np.ndarray) -> np.ndarray:
    """Probabilities from logits, over the last axis.

    Args:
        x: [..., A].
    Returns:
        [..., A], each row sums to 1; large logits do not overflow.
    """
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
