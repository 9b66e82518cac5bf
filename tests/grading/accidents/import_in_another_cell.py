"""What the answer imports is imported above, as one should: harmless imports are taken along."""

from damage import DONE, code, put

expected = DONE


def make(notebook):
    answer = """
def symlog(x: Optional[np.ndarray] = None) -> np.ndarray:
    return np.vectorize(lambda v: math.copysign(math.log1p(abs(v)), v))(x)
"""
    put(notebook, "0.1.1", answer)
    notebook["cells"].insert(0, code("import math, os\nfrom typing import Optional"))
    return notebook
