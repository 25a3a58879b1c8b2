import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { resolveLibtorch } from "../../lib/runtime/libtorch/find.js";
import { layouts, Project } from "./layouts.js";
import { type Published, publish } from "./published.js";
import { bareEnvironment } from "./run.js";

let published: Published;
/** Without a compiler. The cache of libtorch begins empty, and all layouts share it. */
let env: NodeJS.ProcessEnv;
const cache = () => join(published.folder, "cache");

beforeAll(async () => {
  published = await publish();
  env = bareEnvironment(published.folder, { INSTRUCT_PIX2PIX_CACHE: cache() });
  return () => published.remove();
}, 600_000);

const edit = [
  "edit",
  "--image",
  "before.png",
  "--prompt",
  "make it winter",
  "--num_inference_steps",
  "3",
  "--seed",
  "7",
];
const train = [
  ...["train", "--train_data_dir", "data", "--output_dir", "trained", "--resolution", "64", "--max_train_steps", "3"],
  ...["--train_batch_size", "2", "--seed", "0"],
];

describe.runIf(process.platform === "linux" && process.arch === "x64")("in an empty folder without a compiler", () => {
  const edited: Record<string, string> = {};

  // The same image with every package manager.
  afterAll(() => expect(new Set(Object.values(edited)).size).toBe(1));

  it.each(Object.values(layouts))(
    "$name installs it, and then it edits and trains",
    async (layout) => {
      const project = new Project(join(published.folder, layout.name.replaceAll(/\W+/g, "-")), layout, env);
      await project.add(published.registry.url, "instruct-pix2pix");

      if (!existsSync(cache())) {
        const { status, stdout } = await project.ip2pAnyhow("doctor");
        expect(status).toBe(1);
        expect(stdout).toMatch(/^ERR_LIBTORCH_NOT_FOUND: .*run `npx ip2p install`/m);
        await project.ip2p("install", "--from", resolveLibtorch().root);
      }
      const { stdout } = await project.ip2p("doctor");
      expect(stdout).toMatch(/^addon .*ip2p\.linux-x64-gnu\.node, built against libtorch 2\.13\.0$/m);
      expect(stdout).toMatch(/^loading +works$/m);

      await sharp({ create: { width: 64, height: 64, channels: 3, background: "#7ac" } }).toFile(
        project.at("before.png"),
      );
      await project.ip2p(...edit, "--output", "after.png");
      edited[layout.name] = (await sharp(project.at("after.png")).raw().toBuffer()).toString("base64");

      await project.ip2p("make-dataset", "--world", "--output", "data", "--count", "4");
      const model = await project.node(
        "model.mjs",
        'import { builtInModel } from "instruct-pix2pix"; console.log(builtInModel);',
      );
      await project.ip2p(...train, "--pretrained_model_name_or_path", model);
      const metrics = readFileSync(project.at("trained", "metrics.jsonl"), "utf8").trim().split("\n");
      expect(metrics.map((line) => (JSON.parse(line) as { step: number }).step)).toEqual([1, 2, 3]);
    },
    180_000,
  );
});
