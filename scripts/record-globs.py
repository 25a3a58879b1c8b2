"""Records which names fsspec's and `fnmatch`'s patterns match, for test/data/hostile-text.test.ts.

Usage: python scripts/record-globs.py (needs fsspec)
"""

import fnmatch
import json
import pathlib
import random
import re
import warnings

from fsspec.utils import glob_translate

warnings.simplefilter("ignore")  # FutureWarning on sets whose meaning Python may change
TARGET = pathlib.Path(__file__).parent.parent / "test/fixtures/data/globs.json"
SEED, PATTERNS = 7, 400
LETTERS = list("aab/-!^]z&~|\\.é😀")
PARTS = (
    ["*", "?", "[", "]", "!", "-", "a", "b", "/", "z", "^", "&&", "--", "||", "~~", "\\", "**", "**/", "/**", "/*/"]
    + ["[a-b]", "[!a]", "[!/]", "[b-a]", "[b-a!-z]", "[]a]", "[!]a]", "[a", "é", "😀", "[é-😀]", "[--a]", "[a-]", "."]
)
draw = random.Random(SEED)


def text(most):
    return "".join(draw.choice(LETTERS) for _ in range(most))


def draw_pattern():
    return "".join(draw.choice(PARTS) for _ in range(draw.randint(0, 7)))


def draw_name(pattern):
    """Any name, or more often one that is likely to match."""
    if draw.random() >= 0.6:
        return text(draw.randint(0, 8))
    name = pattern
    for wildcard in ("**", "*", "?"):
        while wildcard in name:
            name = name.replace(wildcard, text(1 if wildcard == "?" else draw.randint(0, 3)), 1)
    return re.sub(r"\[([^\[]*?)\]", lambda found: draw.choice(found.group(1) or "a"), name)


def matching(translated, names):
    expression = re.compile(translated)
    return [i for i, name in enumerate(names) if expression.match(name)]


def record(pattern):
    names = list(dict.fromkeys(draw_name(pattern) for _ in range(6)))
    try:
        glob = matching(glob_translate(pattern), names)
    except ValueError:  # "**" that is not a whole path component
        glob = None
    return [pattern, names, glob, matching(fnmatch.translate(pattern), names)]


rows = [record(draw_pattern()) for _ in range(PATTERNS)]
TARGET.write_text(json.dumps(rows, ensure_ascii=False))
