"""Records what NumPy, torch, accelerate, Pillow and the `datasets` library do with training data, for test/data.

Usage: python scripts/record-data.py (needs accelerate, datasets, numpy, pillow < 13, pyarrow and torch)
"""

import hashlib
import io
import json
import os
import pathlib
import random
import shutil
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from accelerate.data_loader import BatchSamplerShard
from PIL import Image
from torch.utils.data import BatchSampler

TARGET = pathlib.Path(__file__).parent.parent / "test/fixtures/data"
ORIENTATION = 0x0112
RESOLUTION = 16
datasets.disable_progress_bars()
datasets.logging.set_verbosity_error()


def write_json(name, value):
    (TARGET / name).write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")


def numpy_permutations():
    seeds = [0, 1, 42, 123456789, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 2**64, 2**128 + 5, 10**40]
    permutation = lambda seed, n: np.random.default_rng(seed).permutation(n)
    small = [{"seed": str(s), "n": n, "p": permutation(s, n).tolist()} for s in seeds for n in [0, 1, 2, 3, 10, 100]]
    long = []
    for seed, n in [(s, n) for s in [0, 7, 42, 2**40 + 3] for n in [1000, 65537, 100003]] + [(42, 1000000)]:
        p = permutation(seed, n)
        digest = hashlib.sha256(p.astype("<u4").tobytes()).hexdigest()
        long.append({"seed": str(seed), "n": n, "head": p[:5].tolist(), "tail": p[-5:].tolist(), "sha256": digest})
    raw = [
        {"seed": str(s), "u64": [str(x) for x in np.random.default_rng(s).bit_generator.random_raw(4).tolist()]}
        for s in [0, 42, 2**70]
    ]
    write_json("numpy-permutations.json", {"raw": raw, "permutations": small, "long": long})


def torch_permutations():
    cases = []
    for seed in [0, 42, 7, 2**40 + 1]:
        generator = torch.Generator()
        generator.manual_seed(seed)
        draws = [int(torch.empty((), dtype=torch.int64).random_(generator=generator)) for _ in range(4)]
        for n in [1, 2, 9, 10, 1000]:
            own = torch.Generator()
            own.manual_seed(draws[1])
            p = torch.randperm(n, generator=own).tolist()
            cases.append({"generatorSeed": str(seed), "draws": [str(d) for d in draws], "n": n, "p": p})
    write_json("torch-permutations.json", cases)


def accelerate_shards():
    rng = random.Random(0)
    cases = []
    for _ in range(60):
        length, batch_size, world_size = rng.randint(1, 40), rng.randint(1, 7), rng.randint(2, 5)
        shards = [
            list(BatchSamplerShard(BatchSampler(range(length), batch_size, False), world_size, rank))
            for rank in range(world_size)
        ]
        cases.append({"length": length, "batchSize": batch_size, "worldSize": world_size, "shards": shards})
    write_json("accelerate-shards.json", cases)


CARDS = [
    "- config_name: default\n  data_files: data/*",
    "- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n  - split: test\n    path: data/test-*",
    "- config_name: a\n  data_files: a/*\n- config_name: b\n  data_files: b/**",
    "- config_name: a\n  data_dir: a\n- config_name: b\n  data_dir: b\n  default: true",
    "- config_name: x\n  data_files: '**/*.parquet'",
    "- config_name: x\n  data_files: ['a/*', '**/train*']",
    "- config_name: default\n  data_dir: data\n- config_name: b\n  data_files: '[bt]*/*'",
    "- config_name: q\n  data_files:\n  - split: test\n    path: '*'",
]
FOLDERS = "data train test default a b train_1 my-train val dev|set __x .h TRAIN training x.train eval2 trains é".split()
FILES = "train test 0000 train-00000-of-00001 train-00000-of-00002 train-00001-of-00002-ab12 test-00000-of-00001".split()
FILES += "foo_train dev x-val-1 a|b Train training.1 B _t validation-00000-of-00001".split()


def layouts():
    """The files that `load_dataset(folder)` uses for the split train; null if it finds no such split."""
    rng = random.Random(5)
    cases = []
    while len(cases) < 120:
        folders = rng.sample(FOLDERS, rng.randint(1, 3))
        files = set()
        for _ in range(rng.randint(1, 5)):
            parts = [rng.choice(folders)] * (rng.random() < 0.75) + [rng.choice(FOLDERS)] * (rng.random() < 0.2)
            files.add("/".join([*parts, rng.choice(FILES)]).replace("|", " ") + ".parquet")
        card = rng.choice([None, None, None, *CARDS])
        config = rng.choice([None, None, "b"]) if card else None
        with tempfile.TemporaryDirectory() as root, tempfile.TemporaryDirectory() as cache:
            for name in files:
                os.makedirs(os.path.dirname(f"{root}/{name}"), exist_ok=True)
                pq.write_table(pa.table({"name": [name]}), f"{root}/{name}")
            readme = None if card is None else f"---\nlicense: mit\nconfigs:\n{card}\n---\n# A dataset\n"
            if readme:
                pathlib.Path(f"{root}/README.md").write_text(readme)
            try:
                splits = datasets.load_dataset(root, config, cache_dir=cache)
                train = list(dict.fromkeys(splits["train"]["name"])) if "train" in splits else None
            except Exception as error:
                # It also rejects a dataset for faults in configurations that were not requested.
                if "Config name is missing" not in str(error) and "not found. Available" not in str(error):
                    continue
                train = None
        # Mostly cases with several candidates.
        if train is not None or rng.random() < 0.1:
            cases.append({"files": sorted(files), "readme": readme, "config": config, "train": train})
    write_json("layouts.json", cases)


def scene(seed, size):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def encoded(image, format, **options):
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def pictures():
    """Pairs of images of many kinds and of unequal sizes, with their extensions."""
    alpha = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8))
    with_alpha = scene(3, (30, 20))
    with_alpha.putalpha(alpha)
    originals = [
        (encoded(scene(1, (16, 16)), "PNG"), "png"),
        (encoded(scene(2, (40, 17)), "JPEG", quality=90), "jpg"),
        (encoded(with_alpha, "PNG"), "png"),
        (encoded(scene(4, (50, 50)).convert("L"), "PNG"), "png"),
        (encoded(scene(5, (24, 33)), "JPEG", quality=95, exif=turned(6)), "jpg"),
        (encoded(scene(6, (31, 29)).convert("P"), "GIF"), "gif"),
    ]
    edited = [
        (encoded(scene(11, (64, 48)), "WEBP", lossless=True), "webp"),
        (encoded(scene(12, (20, 30)).convert("CMYK"), "JPEG", quality=90), "jpg"),
        (encoded(scene(13, (9, 40)), "PNG", exif=turned(8)), "png"),
        (encoded(scene(14, (33, 21)), "TIFF"), "tif"),
        (encoded(scene(15, (3, 3)), "PNG"), "png"),
        (encoded(scene(16, (120, 90)), "JPEG", quality=75, progressive=True), "jpg"),
    ]
    return originals, edited


PROMPTS = ["make it snow", "ünïcödé 雪 🎨", 'he said "hi", then left', "two\nlines", " spaces around ", "x" * 200]


def mixed():
    """One dataset as image folder and as parquet in several encodings, with the pixels that the script sees."""
    originals, edited = pictures()
    folder = TARGET / "mixed"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "folder/images").mkdir(parents=True)
    (folder / "parquet").mkdir()
    rows = []
    for i, prompt in enumerate(PROMPTS):
        row = {}
        for column, (data, extension) in [("input_image", originals[i]), ("edited_image", edited[i])]:
            name = f"images/{i}_{column[0]}.{extension}"
            (folder / "folder" / name).write_bytes(data)
            row[f"{column}_file_name"] = name
        rows.append({**row, "edit_prompt": prompt})
    with open(folder / "folder/metadata.jsonl", "w") as lines:
        lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

    def cells(pairs, binary=pa.binary(), text=pa.string()):
        return pa.array(
            [{"bytes": data, "path": None if i % 2 else f"{i}.{extension}"} for i, (data, extension) in enumerate(pairs)],
            pa.struct({"bytes": binary, "path": text}),
        )

    def write(name, prompts=pa.array(PROMPTS), originals=originals, edited=edited, wide=False, plain=False, **options):
        types = (pa.large_binary(), pa.large_string()) if wide else (pa.binary(), pa.string())
        columns = [cells(pairs, *types) for pairs in (originals, edited)]
        if plain:
            columns = [pa.array([data for data, _ in pairs]) for pairs in (originals, edited)]
        table = pa.table({"input_image": columns[0], "id": range(len(prompts)), "edited_image": columns[1], "edit_prompt": prompts})
        pq.write_table(table, folder / f"parquet/{name}.parquet", **options)

    write("snappy", compression="snappy")
    write("uncompressed", compression="none", use_dictionary=False, row_group_size=4)
    write("zstd-small-groups", compression="zstd", row_group_size=1)
    write("gzip-pages-v2", compression="gzip", data_page_version="2.0", data_page_size=256)
    write("lz4-with-index", compression="lz4", write_page_index=True)
    write("brotli-wide", pa.array(PROMPTS, pa.large_string()), wide=True, compression="brotli")
    write("dictionary", pa.array(PROMPTS).dictionary_encode(), compression="snappy", use_dictionary=True)
    write("plain-bytes", plain=True, compression="snappy")

    named(folder / "named", rows, originals, edited)

    train = datasets.load_dataset("imagefolder", data_files={"train": f"{folder}/folder/**"}, cache_dir=tempfile.mkdtemp())
    convert = lambda image: np.array(image.convert("RGB").resize((RESOLUTION, RESOLUTION)))
    pixels = [np.stack([convert(row[column]) for row in train["train"]]) for column in ("input_image", "edited_image")]
    (folder / "pixels.bin").write_bytes(b"".join(part.tobytes() for part in pixels))


def named(folder, rows, originals, edited):
    """Parquet files that refer to their images by path, or lack them."""
    folder.mkdir()
    struct = pa.struct({"bytes": pa.binary(), "path": pa.string()})

    def write(name, first, second, prompts=PROMPTS):
        table = pa.table({"input_image": first, "edited_image": second, "edit_prompt": pa.array(prompts, pa.string())})
        pq.write_table(table, folder / f"{name}.parquet")

    def paths(column, change=lambda path: path):
        return [change(row[f"{column}_file_name"]) for row in rows]

    def structs(names):
        return pa.array([{"bytes": None, "path": name} for name in names], struct)

    write("struct", structs(paths("input_image")), structs(paths("edited_image")))
    write("strings", pa.array(paths("input_image")), pa.array(paths("edited_image"), pa.large_string()))
    moved = lambda path: f"/somewhere/else/mixed/{path}"
    write("absolute", structs(paths("input_image", moved)), structs(paths("edited_image", moved)))
    hostile = ["/etc/hostname", "../secret.png", "a/../../secret.png", "C:\\secret.png", "file:///etc/hostname", "link.png"]
    write("hostile", structs(hostile), structs(paths("edited_image")))
    whole = [{"bytes": data, "path": None} for data, _ in originals]
    broken = [whole[0], None, {"bytes": None, "path": None}, whole[3], whole[4], {"bytes": originals[5][0][:40], "path": "x.gif"}]
    second = pa.array([{"bytes": data, "path": None} for data, _ in edited], struct)
    write("incomplete", pa.array(broken, struct), second, ["fine", "null", "no bytes", None, "", "truncated"])


if __name__ == "__main__":
    TARGET.mkdir(parents=True, exist_ok=True)
    numpy_permutations()
    torch_permutations()
    accelerate_shards()
    layouts()
    mixed()
