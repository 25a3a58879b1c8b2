import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseModelIndex } from "../../lib/components/model-index.js";
import { isInstructPix2PixError } from "../../lib/core/errors.js";
import { chooseTrainFiles } from "../../lib/data/data-files.js";
import { readCardConfigs } from "../../lib/data/dataset-card.js";
import { parseGlob } from "../../lib/data/glob.js";
import { readMetadata } from "../../lib/data/metadata/read.js";
import { parseObject } from "../../lib/files/config.js";
import { parseShellPattern } from "../../lib/hub/patterns.js";
import { identifyFormat } from "../../lib/images/format.js";
import { loadPixels } from "../../lib/images/load.js";
import { integer, integerOrList, LIMITS, parseConfig } from "../../lib/models/schema.js";
import { parseWeightIndex } from "../../lib/models/weight-index.js";
import { Secrets } from "../../lib/tracking/secrets.js";
import { fixture } from "../helpers/fixtures.js";
import { openServer } from "./server.js";

/** What is fed with input from outside. */
export interface FuzzTarget {
  readonly seeds: readonly (string | Buffer)[];
  /** Pieces that mean something there. */
  readonly tokens: readonly string[];
  /** Prepares what the inputs are given to. Those may only throw typed errors. */
  open(): Promise<{ feed(input: Buffer): void | Promise<void>; close?(): Promise<void> }>;
}

/** A target that needs no preparation. */
const plain =
  (feed: (input: Buffer) => void | Promise<void>): FuzzTarget["open"] =>
  async () => ({ feed });

/** A target that reads a file. */
const ofFile = (name: string, feed: (path: string) => Promise<void>): FuzzTarget["open"] => {
  return async () => {
    const folder = await mkdtemp(join(tmpdir(), "ip2p-fuzz-"));
    const path = join(folder, name);
    return {
      feed: async (input) => {
        await writeFile(path, input);
        await feed(path);
      },
      close: () => rm(folder, { recursive: true, force: true }),
    };
  };
};

const metadata = (name: string) =>
  ofFile(name, async (path) => {
    for await (const slice of readMetadata(path, ["input_image", "edit_prompt"])) void slice.length;
  });

const picturesIn = (folder: string) =>
  readdirSync(folder)
    .filter((name) => /\.(png|jpe?g|webp|gif|tiff?|avif)$/.test(name))
    .map((name) => readFileSync(join(folder, name)))
    .filter(({ length }) => length < 4096);

const CONFIG =
  '{"_class_name": "X", "unet": ["diffusers", "UNet2DConditionModel"], "layers_per_block": [2, 1], "sample_size": 8}';
const CARD = `---
license: mit
configs:
- config_name: default
  data_files:
  - split: train
    path: ["data/train-*", "**/*.parquet"]
  - split: test
    path: data/test-*
- config_name: other
  data_dir: ./other/
---
# Pairs
`;
const MULTIPART = [
  '--B\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nmake it red\r\n',
  '--B\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n--B--\r\n',
].join("");

export const FUZZ_TARGETS: Readonly<Record<string, FuzzTarget>> = {
  configs: {
    seeds: [CONFIG, '{"weight_map": {"a.weight": "m-00001-of-00002.safetensors"}, "metadata": {}}'],
    tokens: ["{", "}", "[", "]", ",", ":", '"', "\\u00", "NaN", "1e999", "-", "null", '{"a":', "__proto__", "../"],
    open: plain(async (input) => {
      const text = input.toString("utf8");
      const schema = { layers_per_block: integerOrList(2, LIMITS.layers), sample_size: integer(8, LIMITS.positions) };
      const uses = [
        () => parseConfig(schema, parseObject(text, "config.json"), "config.json"),
        () => parseModelIndex(text, "model_index.json"),
        () => parseWeightIndex(text, "index.json"),
      ];
      await settleAll(uses);
    }),
  },
  csv: {
    seeds: ["input_image,edit_prompt\r\na.png,make it red\r\n", '\ufeffa,b\n"x ""y"", z",\n\n"multi\nline",2\n'],
    tokens: [",", '"', "\n", "\r\n", "\r", '""', ",,", "\0", "é"],
    open: metadata("metadata.csv"),
  },
  jsonl: {
    seeds: ['{"input_image": "a.png", "edit_prompt": "make it red"}\n{"input_image": null, "x": [1, {"y": NaN}]}\n'],
    tokens: ["{", "}", "[", "]", ",", ":", '"', "\n", "\\", '"edit_prompt":', " ", "\r"],
    open: metadata("metadata.jsonl"),
  },
  parquet: {
    seeds: ["snappy", "dictionary"].map((name) => readFileSync(fixture("data", "mixed", "parquet", `${name}.parquet`))),
    tokens: ["PAR1", "\0", "\xff\xff", "\x15\x02\x19"],
    open: metadata("metadata.parquet"),
  },
  globs: {
    seeds: ["**/train/*-[0-9]?*.parquet\ndata/train/x-00.parquet", "*a*[!b-d]*/**/?\naaaaaaaa/b/c"],
    tokens: ["*", "**", "**/", "/", "?", "[", "]", "[!", "-", "a", "*a", "\n"],
    open: plain((input) => {
      const [pattern = "", path = ""] = input.toString("utf8").split("\n");
      const short = pattern.slice(0, 1024);
      for (const parse of [parseGlob, parseShellPattern]) {
        const glob = parse(short);
        glob.test(path);
        const most = (2 * short.length + 2) * (path.length + 1);
        if (glob.work > most) throw new Error(`${glob.work} places were looked at, more than ${most}`);
      }
    }),
  },
  cards: {
    seeds: [CARD, CARD.replaceAll("\n", "\r\n"), "---\na: &a [*b, {c: d}]\nconfigs: *a\n---\n"],
    tokens: [
      "- ",
      "? ",
      "[",
      "{",
      ": ",
      "&a ",
      "*a ",
      "|\n",
      "---\n",
      "#",
      "'",
      '"',
      "\t",
      "  ",
      "!!",
      "configs:\n",
      "*a",
    ],
    open: plain((input) => {
      const files = ["data/train-00000-of-00001.parquet", "other/x.parquet", "README.md"];
      chooseTrainFiles(files, readCardConfigs(input.toString("utf8"), "README.md"), undefined, "the data set");
    }),
  },
  images: {
    seeds: picturesIn(fixture("images", "decode")),
    tokens: ["\0\0\0\x0cIDAT", "IEND", "\xff\xda\0\x08", "\xff\xe1\xff\xff", "ANMF", "ftypavif", "<svg", "<", "II*\0"],
    open: plain(async (input) => {
      identifyFormat(input);
      await loadPixels(input, { maxPixels: 1 << 20, timeoutMs: 20_000 });
    }),
  },
  multipart: {
    seeds: [MULTIPART],
    tokens: ["--B\r\n", "--B--", "\r\n\r\n", "\r\n", 'name="', "filename*=", "Content-Type: ", "\0", ";", '"'],
    open: openServer,
  },
  secrets: {
    seeds: ["see https://user:word@host/a?b=c hf_abcdefghijklmnopqrstuvwxyz"],
    tokens: ["://", "@", "a.", "hf_", "%", "a-", "/"],
    open: plain((input) => {
      const clean = new Secrets([], ["a secret"]).redact(`${input.toString("utf8")} a secret`);
      if (clean.includes("a secret")) throw new Error("a secret was left");
    }),
  },
};

/** Tries each, of which only typed errors may come. */
async function settleAll(uses: readonly (() => unknown)[]): Promise<void> {
  for (const use of uses) {
    try {
      await use();
    } catch (error) {
      if (!isInstructPix2PixError(error)) throw error;
    }
  }
}
