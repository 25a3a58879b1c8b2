"""Records what torch's CPU generator draws, for test/runtime/generator.addon.test.ts.

    python scripts/record-random.py test/fixtures/random

Writes drawn.safetensors (every case's numbers, and the generator's state after them) and cases.json. The shapes lie on
both sides of 16 elements, where torch starts drawing normal numbers in blocks, and a case of two draws shows the number
that Box-Muller keeps for later.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

DTYPES = {name: getattr(torch, name) for name in ("float32", "float64", "bfloat16", "float16")}
SEEDS = [0, 1, 42, 2**32 - 1, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1]
SHAPES = [[], [1], [3], [15], [16], [17], [2, 3, 5], [1, 4, 8, 8], [0, 4]]


def draw(call, generator):
    kind = call["kind"]
    if kind in ("randn", "rand"):
        return getattr(torch, kind)(call["shape"], generator=generator, dtype=DTYPES[call["dtype"]])
    if kind == "randint":
        return torch.randint(call["low"], call["high"], call["shape"], generator=generator)
    if kind == "randperm":
        return torch.randperm(call["n"], generator=generator)
    return torch.empty((), dtype=torch.int64).random_(generator=generator)


def cases():
    for i, seed in enumerate(SEEDS):
        yield seed, [{"kind": "randn", "shape": [4], "dtype": "float32"}, {"kind": "random_int64"}]
        for kind in ("randn", "rand"):
            for dtype in DTYPES:
                yield seed, [{"kind": kind, "shape": SHAPES[i], "dtype": dtype}]
    for shape in SHAPES:
        for dtype in DTYPES:
            # An odd number of normal draws keeps one for the next.
            yield 7, [{"kind": "randn", "shape": shape, "dtype": dtype}] * 2
            yield 7, [{"kind": "rand", "shape": shape, "dtype": dtype}, {"kind": "randn", "shape": [3], "dtype": dtype}]
    for low, high in [(0, 2), (-5, 5), (0, 1000), (0, 2**31), (-(2**40), 2**40), (0, 2**53)]:
        yield 3, [{"kind": "randint", "low": low, "high": high, "shape": [9]}]
    for n in (0, 1, 2, 10, 1000):
        yield 5, [{"kind": "randperm", "n": n}] * 2
    yield 9, [{"kind": "random_int64"}] * 4


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    tensors, listed = {}, []
    for i, (seed, calls) in enumerate(cases()):
        generator = torch.Generator("cpu").manual_seed(seed)
        for j, call in enumerate(calls):
            tensors[f"{i}.{j}"] = draw(call, generator).contiguous()
        if i % 40 == 0:
            tensors[f"{i}.state"] = generator.get_state()
        # Seeds do not all fit into a double.
        listed.append({"seed": str(seed), "calls": calls})
    save_file(tensors, folder / "drawn.safetensors")
    (folder / "cases.json").write_text(json.dumps({"torch": torch.__version__, "cases": listed}) + "\n")


main(Path(sys.argv[1]))
