import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach } from "vitest";
import type { ResolveOptions } from "../../lib/hub/index.js";
import { resolvePretrained } from "../../lib/hub/index.js";
import type { Environment } from "../../lib/runtime/platform.js";
import { HubServer } from "./server.js";

/** A server and a cache for each test. */
export interface HubTest {
  server: HubServer;
  /** A folder that is gone after the test. */
  scratch: string;
  cacheDir: string;
  env: Record<string, string>;
  resolve(pathOrId: string, options?: ResolveOptions, more?: Environment): Promise<string>;
}

export function useHub(): HubTest {
  const test = {
    resolve: (pathOrId: string, options: ResolveOptions = {}, more: Environment = {}) =>
      resolvePretrained(pathOrId, { retryDelay: 1, ...options }, { ...test.env, ...more }),
  } as HubTest;
  let folders: string;
  let count = 0;
  beforeAll(async () => {
    test.server = await HubServer.start();
    folders = await mkdtemp(join(tmpdir(), "ip2p-hub-"));
  });
  beforeEach(() => {
    test.server.reset();
    test.scratch = join(folders, String(count++));
    test.cacheDir = join(test.scratch, "hub");
    test.env = { HF_ENDPOINT: test.server.url, HF_HOME: test.scratch };
  });
  afterAll(async () => {
    await test.server.stop();
    await rm(folders, { recursive: true, force: true });
  });
  return test;
}

/** A pipeline repository as Stable Diffusion 1.x has it, with files that are not needed. */
export function pipelineFiles(weightBytes = 3000): Record<string, string | Buffer> {
  const weights = () => randomBytes(weightBytes);
  return {
    ".gitattributes": "*.safetensors filter=lfs",
    "README.md": "# A model",
    "model_index.json": JSON.stringify({
      _class_name: "StableDiffusionInstructPix2PixPipeline",
      _diffusers_version: "0.40.0",
      feature_extractor: ["transformers", "CLIPImageProcessor"],
      image_encoder: [null, null],
      requires_safety_checker: true,
      safety_checker: ["stable_diffusion", "StableDiffusionSafetyChecker"],
      scheduler: ["diffusers", "EulerAncestralDiscreteScheduler"],
      text_encoder: ["transformers", "CLIPTextModel"],
      tokenizer: ["transformers", "CLIPTokenizer"],
      unet: ["diffusers", "UNet2DConditionModel"],
      vae: ["diffusers", "AutoencoderKL"],
    }),
    "whole-model.safetensors": weights(),
    "whole-model.ckpt": weights(),
    "feature_extractor/preprocessor_config.json": "{}",
    "safety_checker/config.json": "{}",
    "safety_checker/model.safetensors": weights(),
    "scheduler/scheduler_config.json": "{}",
    "text_encoder/config.json": '{"a":1}',
    "text_encoder/model.safetensors": weights(),
    "text_encoder/pytorch_model.bin": weights(),
    "tokenizer/merges.txt": "#version: 0.2\n",
    "tokenizer/special_tokens_map.json": "{}",
    "tokenizer/tokenizer_config.json": "{}",
    "tokenizer/vocab.json": "{}",
    "unet/config.json": '{"b":2}',
    "unet/diffusion_pytorch_model.bin": weights(),
    "unet/diffusion_pytorch_model.safetensors": weights(),
    "vae/config.json": '{"c":3}',
    "vae/diffusion_pytorch_model.bin": weights(),
    "vae/diffusion_pytorch_model.safetensors": weights(),
  };
}

/** The needed files of {@link pipelineFiles}. */
export const NEEDED = [
  "model_index.json",
  "scheduler/scheduler_config.json",
  "text_encoder/config.json",
  "text_encoder/model.safetensors",
  "tokenizer/merges.txt",
  "tokenizer/special_tokens_map.json",
  "tokenizer/tokenizer_config.json",
  "tokenizer/vocab.json",
  "unet/config.json",
  "unet/diffusion_pytorch_model.safetensors",
  "vae/config.json",
  "vae/diffusion_pytorch_model.safetensors",
];

/** Names of the files in a folder and below, sorted. */
export async function filesBelow(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true });
  const kinds = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).isFile()));
  return names.filter((_, index) => kinds[index]).sort();
}
