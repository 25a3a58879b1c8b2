"""Records how Compel parses random prompts, for test/conditioning/weighting.addon.test.ts.

    python scripts/record-weighting.py [--seed 2] [--count 400]

Needs compel 2.5 and pyparsing. Writes test/fixtures/prompt-weighting/parses.json: pairs of a text and its flattened parse, null
where Compel fails on it. A swap is recorded as its original.
"""

import argparse
import json
import pathlib
import random
import signal

from compel.prompt_parser import Blend, CrossAttentionControlSubstitute, PromptParser

PIECES = [
    *["cat", "dog", "a", "big tree", "é", "🎨", ":", ";", "s_start", "\n", "\t", "\\n", "=", "x=1"],
    *["(", ")", "(", ")", '"', '"', "+", "-", "++", "--", " ", " ", " ", ",", "."],
    *["\\", "\\(", "\\)", '\\"', "\\+", "1.2", "0.5", "1", "-1", "3.", ".5"],
    *[".and(", ".blend(", ".swap(", ".attend(", "no_normalize", "withLora("],
    *['("a","b")', '("a", "b").and(1,2)', "(a, b).blend(0.3,0.7)"],
]
INNER = ["cat", "a ", "(dog)1.2", "red--", ",", "."]


class TooSlow(Exception):
    """Compel's parser takes exponential time on some nestings."""


def give_up(*_):
    raise TooSlow


def random_prompt(draw: random.Random) -> str:
    if draw.random() > 0.3:
        return "".join(draw.choice(PIECES) for _ in range(draw.randint(1, 12)))
    prompts = ",".join('"' + "".join(draw.choices(INNER, k=draw.randint(0, 4))) + '"' for _ in range(draw.randint(1, 3)))
    weights = ",".join(draw.choices(["1", "0.5", "2.0", "no_normalize"], k=draw.randint(0, 3)))
    operator = draw.choice(["and", "blend", "add"])
    return f"({prompts}).{operator}({weights})" + draw.choice(["", "", " x", " withLora(a,0.3)"])


def fragments(prompt) -> list:
    pairs = []
    for child in prompt.children:
        whole = child.original if isinstance(child, CrossAttentionControlSubstitute) else [child]
        pairs += [[fragment.text, fragment.weight] for fragment in whole]
    return pairs


def parse(parser: PromptParser, text: str):
    try:
        conjunction = parser.parse_conjunction(text)
    except TooSlow:
        raise
    except Exception:
        return None
    if not conjunction.prompts:
        return None
    parts = [
        {
            "kind": "blend",
            "prompts": [fragments(prompt) for prompt in part.prompts],
            "weights": part.weights,
            "normalize": part.normalize_weights,
        }
        if isinstance(part, Blend)
        else {"kind": "prompt", "fragments": fragments(part)}
        for part in conjunction.prompts
    ]
    return {"parts": parts, "weights": conjunction.weights}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--seed", type=int, default=2)
    arguments.add_argument("--count", type=int, default=400)
    options = arguments.parse_args()
    draw = random.Random(options.seed)
    signal.signal(signal.SIGALRM, give_up)
    parser = PromptParser()
    recorded = []
    while len(recorded) < options.count:
        text = random_prompt(draw)
        signal.alarm(5)
        try:
            recorded.append([text, parse(parser, text)])
        except TooSlow:
            continue
        finally:
            signal.alarm(0)
    path = pathlib.Path(__file__).parent.parent / "test/fixtures/prompt-weighting/parses.json"
    path.write_text("[\n" + ",\n".join(json.dumps(pair, ensure_ascii=False) for pair in recorded) + "\n]\n")


main()
