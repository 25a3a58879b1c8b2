import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { imageGrid, loadImage } from "../../lib/images/index.js";
import { ControlNetModel } from "../../lib/models/controlnet.js";
import { UNet2DConditionModel } from "../../lib/models/unet_2d_condition.js";
import { drawScene, worldExample } from "../../lib/world/index.js";
import { ip2p, tinyImage, tinyModel, Workplace } from "../cli/run-cli.js";
import { fixture } from "../helpers/fixtures.js";
import { copyInpaintingDecoder } from "../helpers/inpainting-decoder.js";
import { HubServer } from "../hub/server.js";
import { writeSingleFile } from "../single-file/make.js";
import { root } from "./pages.js";

const textModel = fixture("text2img", "model");
const clipModel = fixture("evaluation", "clip");
const MODELS = { "timbrooks/instruct-pix2pix": tinyModel, "stable-diffusion-v1-5/stable-diffusion-v1-5": textModel };
/** Of the guide to image to image. */
const OTHER_MODELS = {
  "ogkalu/Comic-Diffusion": textModel,
  "kohbanye/pixel-art-style": textModel,
  "nitrosocke/elden-ring-diffusion": textModel,
  "stable-diffusion-v1-5/stable-diffusion-inpainting": fixture("inpaint", "model"),
  "stabilityai/sd-x2-latent-upscaler": fixture("latent-upscale", "model"),
  "stabilityai/stable-diffusion-x4-upscaler": fixture("upscale-x4", "model"),
};
/** Models whose files are none of Stable Diffusion's. */
const WHOLE_REPOSITORIES = {
  "openai/clip-vit-large-patch14": clipModel,
  "stabilityai/stable-diffusion-xl-base-1.0": fixture("sdxl-img2img", "model"),
  "madebyollin/sdxl-vae-fp16-fix": fixture("sdxl-img2img", "model/vae"),
  "kandinsky-community/kandinsky-2-2-prior": fixture("kandinsky22", "prior"),
  "kandinsky-community/kandinsky-2-2-decoder": fixture("kandinsky22", "decoder"),
};
const KANDINSKY_CARD = "---\nprior:\n- kandinsky-community/kandinsky-2-2-prior\n---\n";
const MODEL_FILES = [
  ...["model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json", "unet/config.json"],
  ...["text_encoder/model.safetensors", "tokenizer/merges.txt", "tokenizer/vocab.json", "vae/config.json"],
  ...["unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"],
];
/** Of some models only. */
const OPTIONAL_FILES = ["low_res_scheduler/scheduler_config.json"];

/** Where the examples of the pages can be tried: what they name is there, but small, the hub included. */
export interface DocsWorld {
  env: Record<string, string>;
  /** A temporary folder, or this one, with the models, images and data sets that the pages name. */
  place(folder?: string): Workplace;
}

/** A checkpoint as training leaves it, as far as a model needs it. */
function writeCheckpoint(path: string): void {
  cpSync(join(tinyModel, "unet"), join(path, "unet"), { recursive: true });
  const index = JSON.parse(readFileSync(join(tinyModel, "model_index.json"), "utf8"));
  index._base_model = { model: "./model", trained: { unet: "unet" } };
  writeFileSync(join(path, "model_index.json"), JSON.stringify(index));
  writeFileSync(join(path, "..", "metrics.jsonl"), '{"step":1000,"train_loss":0.1}\n');
}

/** Averages of the weights as training leaves them beside its model. */
function writeAverages(outputDir: string): void {
  const run = { id: "01234567-89ab-cdef-0123-456789abcdef", ancestors: [] };
  writeFileSync(join(outputDir, "run.json"), JSON.stringify({ format: "instruct-pix2pix run", run }));
  const snapshot = join(outputDir, "ema-snapshots", run.id.slice(0, 8), "step-1000");
  for (const width of ["0.05", "0.10"])
    cpSync(join(tinyModel, "unet"), join(snapshot, width, "unet"), { recursive: true });
  const index = { format: "instruct-pix2pix averages", run: run.id, step: 1000 };
  writeFileSync(join(snapshot, "snapshot.json"), JSON.stringify(index));
}

export function useDocsWorld(): DocsWorld {
  const world = {} as DocsWorld;
  const made = new Workplace();
  let server: HubServer;
  beforeAll(async () => {
    for (const name of ["model", "my-model"]) made.copyOfModel(name);
    writeAverages(made.at("my-model"));
    await writeSingleFile(made.at("model.safetensors"), "ip2p-tiny");
    cpSync(textModel, made.at("base"), { recursive: true });
    writeCheckpoint(made.at("long-run", "checkpoint-1000"));
    cpSync(clipModel, made.at("clip"), { recursive: true });
    cpSync(fixture("sdxl-img2img", "model"), made.at("sdxl-base"), { recursive: true });
    cpSync(fixture("sdxl-img2img", "refiner"), made.at("sdxl-refiner"), { recursive: true });
    cpSync(fixture("sdxl-ip2p", "model"), made.at("sdxl-edit"), { recursive: true });
    for (const part of ["prior", "decoder"]) cpSync(fixture("kandinsky22", part), made.at(part), { recursive: true });
    for (const part of ["safety_checker", "feature_extractor"])
      cpSync(fixture("safety-checker", part), made.at("model", part), { recursive: true });
    cpSync(fixture("lora", "style.safetensors"), made.at("style.safetensors"));
    cpSync(fixture("lora", "other.safetensors"), made.at("details.safetensors"));
    const picture = await loadImage(tinyImage);
    await picture.save(made.at("photo.jpg"));
    for (const name of ["mask", "edges", "depths"]) await picture.save(made.at(`${name}.png`));
    using unet = await UNet2DConditionModel.fromPretrained(`${textModel}/unet`);
    using unetXL = await UNet2DConditionModel.fromPretrained(fixture("sdxl-img2img", "model/unet"));
    // As many as halve the control image to the size of the latents.
    const nets = {
      "controlnet-canny": [unet, 4],
      "controlnet-depth": [unet, 4],
      "controlnet-canny-sdxl": [unetXL, 2],
    } as const;
    for (const [name, [of, stages]] of Object.entries(nets)) {
      const conditioningEmbeddingOutChannels = new Array<number>(stages).fill(4);
      using net = await ControlNetModel.fromUNet(of, { conditioningEmbeddingOutChannels });
      await net.savePretrained(made.at(name));
    }
    copyInpaintingDecoder(made.at("kandinsky-inpaint"));
    const pairs = await ip2p(["make-dataset", "--world", "--count=4", "--size=32", "--output=pairs"], {
      cwd: made.folder,
    });
    const parquet = await ip2p(
      ["make-dataset", "--world", "--count=4", "--size=32", "--output=parquet", "--format=parquet"],
      { cwd: made.folder },
    );
    if (pairs.status !== 0 || parquet.status !== 0) throw new Error(pairs.stderr + parquet.stderr);
    await picture.save(made.at("pairs/images/lake_before.jpg"));
    await imageGrid([picture]).save(made.at("pairs/images/lake_after.jpg"));
    writeFileSync(made.at("pairs/images/lake.txt"), "make it winter\n");
    for (const [folder, image] of Object.entries({ before: picture, after: imageGrid([picture]) })) {
      mkdirSync(made.at(folder));
      for (const name of ["lake.png", "hill.png"]) await image.save(made.at(folder, name));
    }
    for (const name of ["lake", "hill"]) writeFileSync(made.at("after", `${name}.txt`), `make the ${name} white\n`);
    writeFileSync(made.at("prompts.tsv"), "lake\tmake it winter\nhill\tmake it night\n");
    mkdirSync(made.at("photos"));
    for (let seed = 0; seed < 24; seed++)
      await (await drawScene(worldExample(seed, 0).scene, 256)).save(made.at("photos", `${seed}.png`));
    mkdirSync(made.at("node_modules"));
    symlinkSync(root, made.at("node_modules", "instruct-pix2pix"), "junction");

    server = await HubServer.start();
    for (const [id, folder] of Object.entries({ ...MODELS, ...OTHER_MODELS })) {
      const read = async (name: string) => [name, await readFile(`${folder}/${name}`)] as const;
      const names = [...MODEL_FILES, ...OPTIONAL_FILES.filter((name) => existsSync(`${folder}/${name}`))];
      const files = Object.fromEntries(await Promise.all(names.map(read)));
      // The weights serve as their own variant, which is converted when it is loaded.
      for (const [name, content] of Object.entries(files)) files[name.replace(/(?=\.safetensors$)/, ".fp16")] = content;
      server.repositories.set(id, { files });
    }
    const inpainting = { "kandinsky-community/kandinsky-2-2-decoder-inpaint": made.at("kandinsky-inpaint") };
    for (const [id, folder] of Object.entries({ ...WHOLE_REPOSITORIES, ...inpainting })) {
      const names = readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
      const files = await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name))] as const));
      if (id.includes("kandinsky-2-2-decoder")) files.push(["README.md", Buffer.from(KANDINSKY_CARD)]);
      server.repositories.set(id, { files: Object.fromEntries(files) });
    }
    const [config, weights] = ["config.json", "diffusion_pytorch_model.safetensors"].map((name) =>
      readFileSync(made.at("controlnet-depth", name)),
    );
    server.repositories.set("lllyasviel/control_v11f1p_sd15_depth", {
      files: { "config.json": config!, "diffusion_pytorch_model.fp16.safetensors": weights! },
    });
    const [rows] = readdirSync(made.at("parquet"), { recursive: true })
      .map(String)
      .filter((name) => name.endsWith(".parquet"));
    server.repositories.set("my/pairs", { files: { "data/train.parquet": await readFile(made.at("parquet", rows!)) } });
    // The hub's answers about a data set are those about a model of that name.
    server.fault = ({ path }, response) => {
      if (!path.startsWith("/datasets/")) return undefined;
      response.writeHead(307, { location: path.slice("/datasets".length) }).end();
      return "handled";
    };
    world.env = {
      HF_ENDPOINT: server.url,
      HF_HOME: made.at("hf"),
      OMP_NUM_THREADS: "1",
    };
  });
  afterAll(async () => {
    await server?.stop();
    made[Symbol.dispose]();
  });
  world.place = (folder) => {
    const place = new Workplace(folder);
    rmSync(place.folder, { recursive: true, force: true });
    // Downloads of other examples stay where they are.
    const filter = (path: string) => path !== made.at("hf");
    cpSync(made.folder, place.folder, { recursive: true, verbatimSymlinks: true, filter });
    return place;
  };
  return world;
}
