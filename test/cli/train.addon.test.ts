import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { trainOptions } from "../../lib/training/options.js";
import { fixture } from "../helpers/fixtures.js";
import { ip2p } from "./run-cli.js";

/** Every flag of the reference script, with a value as it might be given. */
const REFERENCE_FLAGS = `--pretrained_model_name_or_path=x --revision=main --variant=fp16 --dataset_name=a/b
--dataset_config_name=default --train_data_dir=d --original_image_column=input_image --edited_image_column=edited_image
--edit_prompt_column=edit_prompt --val_image_url=http://localhost/x.png --validation_prompt=p --num_validation_images=4
--validation_epochs=1 --max_train_samples=10 --output_dir=o --cache_dir=c --seed=1 --resolution=256 --center_crop
--random_flip --train_batch_size=16 --num_train_epochs=100 --max_train_steps=10 --gradient_accumulation_steps=1
--gradient_checkpointing --learning_rate=1e-4 --scale_lr --lr_scheduler=constant --lr_warmup_steps=500
--conditioning_dropout_prob=0.05 --use_8bit_adam --allow_tf32 --use_ema --non_ema_revision=main
--dataloader_num_workers=0 --adam_beta1=0.9 --adam_beta2=0.999 --adam_weight_decay=1e-2 --adam_epsilon=1e-08
--max_grad_norm=1.0 --push_to_hub --hub_token=t --hub_model_id=m --logging_dir=logs --mixed_precision=bf16
--report_to=tensorboard --local_rank=-1 --checkpointing_steps=500 --checkpoints_total_limit=2
--resume_from_checkpoint=latest --enable_xformers_memory_efficient_attention`.split(/\s+/);

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ip2p-train-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const run = (args: readonly string[]) => ip2p(args, { cwd: folder });

const base = () => [
  "train",
  `--pretrained_model_name_or_path=${fixture("script-basic", "base")}`,
  `--train_data_dir=${fixture("script-basic", "dataset")}`,
  "--resolution=32",
  "--train_batch_size=2",
  "--seed=1",
  "--report_to=none",
];

test("every flag of the reference script is an option of the same name", () => {
  const names = REFERENCE_FLAGS.map((flag) => flag.slice(2).split("=")[0]!);
  expect(names).toHaveLength(51);
  expect(names.filter((name) => !Object.hasOwn(trainOptions, name))).toEqual([]);
  // The script for SDXL has the same ones but for these.
  const ofXL = [
    ...names.filter((name) => name !== "val_image_url" && name !== "validation_epochs"),
    ...["pretrained_vae_model_name_or_path", "vae_precision", "val_image_url_or_path", "validation_steps"],
    ...["crops_coords_top_left_h", "crops_coords_top_left_w"],
  ];
  expect(ofXL).toHaveLength(55);
  expect(ofXL.filter((name) => !Object.hasOwn(trainOptions, name))).toEqual([]);
});

test("trains, reports JSON lines, and writes a pipeline and metrics", async () => {
  const outputDir = join(folder, "model");
  const { stdout, stderr, status } = await run([
    ...base(),
    "--max_train_steps=3",
    "--json",
    `--output_dir=${outputDir}`,
  ]);
  expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
  const events = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { event: string });
  expect(events.filter(({ event }) => event === "step")).toHaveLength(3);
  expect(events.at(-1)).toMatchObject({ event: "done", step: 3, output_dir: outputDir, seed: expect.any(Number) });
  expect(events.flatMap(Object.keys).filter((name) => !/^[a-z_]+$/.test(name) || name === "type")).toEqual([]);
  expect(existsSync(join(outputDir, "model_index.json"))).toBe(true);
  const metrics = readFileSync(join(outputDir, "metrics.jsonl"), "utf8").trim().split("\n");
  expect(metrics.map((line) => (JSON.parse(line) as { step: number }).step)).toEqual([1, 2, 3]);
});

describe("bad input is one line on standard error", () => {
  test.each([
    ["no data set", ["--train_data_dir=/nonexistent/pairs"], 1, /pairs/],
    ["a missing column", ["--edit_prompt_column=caption"], 1, /caption.*set --edit_prompt_column to/],
    [
      "rules without their schedule",
      ["--lr_step_rules=1:2,0.5"],
      1,
      /--lr_step_rules are .* --lr_scheduler "piecewise_constant"/,
    ],
    ["an unknown schedule", ["--lr_scheduler=wobbly"], 2, /lr_scheduler/],
    ["a learning rate that is not a number", ["--learning_rate=fast"], 2, /learning_rate/],
    [
      "compat with an unsupported option",
      ["--compat=diffusers", "--mixed_precision=bf16"],
      1,
      /not cover --mixed_precision/,
    ],
    ["a missing checkpoint", ["--resume_from_checkpoint=checkpoint-9"], 1, /checkpoint-9/],
    ["an unsupported tracker", ["--report_to=comet_ml"], 1, /comet_ml/],
    ["a missing model", ["--pretrained_model_name_or_path=/nonexistent/model"], 1, /nonexistent\/model/],
  ])("%s", async (_, flags, expected, words) => {
    const outputDir = join(folder, "bad");
    const { stderr, status } = await run([...base(), "--max_train_steps=1", `--output_dir=${outputDir}`, ...flags]);
    expect(status).toBe(expected);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(stderr).toMatch(words);
  });
});
