import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AutoencoderKL, Generator, loadSafetensors, saveSafetensors, Tensor } from "../../dist/index.js";
import { AutoencoderTrainer } from "../../dist/training/autoencoder-trainer.js";
import { disposeRecord, restoreTensors } from "../../dist/training/named-tensors.js";
import { drawScene, worldExample } from "../../dist/world/index.js";
import { AUTOENCODER, SEEDS, SIZE } from "./settings.mjs";

const VALUES = 3 * SIZE * SIZE;
const CHECKED = 256;
const SAVE_EVERY = 250;

/** Images of the world, both sides of each example, as bytes [count,3,SIZE,SIZE]. */
async function drawPictures(seed, count) {
  const all = new Uint8Array(count * VALUES);
  const area = SIZE * SIZE;
  for (let first = 0; first < count; first += 64)
    await Promise.all(
      Array.from({ length: Math.min(64, count - first) }, async (_, i) => {
        const index = first + i;
        const { scene, edit } = worldExample(seed, index >> 1);
        const { data } = await drawScene(index % 2 ? edit.target : scene, SIZE);
        for (let pixel = 0; pixel < area; pixel++)
          for (let c = 0; c < 3; c++) all[index * VALUES + c * area + pixel] = data[3 * pixel + c];
      }),
    );
  return all;
}

/** Rows of the bytes, scaled to -1..1. */
function batchOf(bytes, rows) {
  const values = new Float32Array(rows.length * VALUES);
  for (const [i, row] of rows.entries())
    for (let j = 0; j < VALUES; j++) values[i * VALUES + j] = bytes[row * VALUES + j] / 127.5 - 1;
  return Tensor.from(values, [rows.length, 3, SIZE, SIZE]);
}

/** Reconstruction of images that were not trained on, in decibels: 10·log10(1 / mean squared error in 0..1). */
export async function reconstructionQuality(vae, bytes) {
  let error = 0;
  const count = bytes.length / VALUES;
  for (let first = 0; first < count; first += 32) {
    const x = batchOf(
      bytes,
      Array.from({ length: Math.min(32, count - first) }, (_, i) => first + i),
    );
    const { mean, logvar } = await vae.encode(x);
    const decoded = await vae.decode(mean);
    const clamped = await decoded.clamp(-1, 1);
    const [a, b] = [await x.toArray(), await clamped.toArray()];
    for (const tensor of [x, mean, logvar, decoded, clamped]) tensor.dispose();
    for (let i = 0; i < a.length; i++) error += ((a[i] - b[i]) / 2) ** 2;
  }
  return -10 * Math.log10(error / bytes.length);
}

function learningRate(step) {
  const { learningRate: top, warmup, steps } = AUTOENCODER;
  if (step < warmup) return (top * (step + 1)) / warmup;
  return top * 0.5 * (1 + Math.cos((Math.PI * (step - warmup)) / (steps - warmup)));
}

/**
 * Trains the autoencoder, or resumes where an earlier call was stopped.
 *
 * @param {string} folder gets `vae/`, a model folder, when it is done
 * @param {(line: string) => void} log
 */
export async function trainAutoencoder(folder, log) {
  const done = join(folder, "vae");
  if (existsSync(done)) return done;
  mkdirSync(folder, { recursive: true });
  log(`drawing ${AUTOENCODER.pictures} images`);
  const bytes = await drawPictures(SEEDS.autoencoder, AUTOENCODER.pictures);
  const unseen = await drawPictures(SEEDS.check, CHECKED);

  const place = join(folder, "vae-checkpoint");
  const resumed = existsSync(place) ? JSON.parse(readFileSync(join(place, "state.json"), "utf8")) : undefined;
  const vae = resumed
    ? await AutoencoderKL.fromPretrained(join(place, "vae"))
    : await AutoencoderKL.fromConfig(AUTOENCODER.config, { generator: new Generator("cpu", 0) });
  const trainer = await AutoencoderTrainer.create(vae, {
    ...{ adamBeta1: 0.9, adamBeta2: 0.99, adamEpsilon: 1e-8, adamWeightDecay: 0 },
    ...{
      optimizer: "adamw",
      useEma: false,
      gradientCheckpointing: false,
      shadowWeights: false,
      mixedPrecision: "bfloat16",
    },
  });
  const generator = new Generator("cpu", 1);
  const history = resumed?.history ?? [];
  if (resumed) {
    const saved = await loadSafetensors(join(place, "optimizer.safetensors"));
    const state = await trainer.optimizerState();
    await restoreTensors(state, saved, "the optimizer's state");
    disposeRecord(saved);
    disposeRecord(state);
    await generator.setState(Buffer.from(resumed.generator, "base64"));
  }

  const save = async (step) => {
    const partial = `${place}.partial`;
    rmSync(partial, { recursive: true, force: true });
    await vae.savePretrained(join(partial, "vae"));
    const state = await trainer.optimizerState();
    await saveSafetensors(join(partial, "optimizer.safetensors"), state);
    disposeRecord(state);
    const random = Buffer.from(await generator.getState()).toString("base64");
    writeFileSync(join(partial, "state.json"), JSON.stringify({ step, generator: random, history }));
    rmSync(place, { recursive: true, force: true });
    renameSync(partial, place);
  };

  let started = performance.now();
  for (let step = resumed?.step ?? 0; step < AUTOENCODER.steps; ) {
    const drawn = await Tensor.randint(0, AUTOENCODER.pictures, [AUTOENCODER.batch], { generator });
    const x = batchOf(bytes, Array.from(await drawn.toArray(), Number));
    const noise = await Tensor.randn([AUTOENCODER.batch, 4, SIZE / 4, SIZE / 4], { generator });
    const loss = await trainer.accumulate({ x, noise, klWeight: AUTOENCODER.klWeight }, 1);
    for (const tensor of [drawn, x, noise, loss]) tensor.dispose();
    await trainer.step(learningRate(step), 1);
    step += 1;
    if (step % SAVE_EVERY !== 0 && step !== AUTOENCODER.steps) continue;
    const decibels = await reconstructionQuality(vae, unseen);
    const seconds = (performance.now() - started) / 1000;
    history.push({ step, decibels, seconds });
    log(`autoencoder: step ${step} of ${AUTOENCODER.steps}, ${decibels.toFixed(2)} dB, ${seconds.toFixed(0)} s`);
    await save(step);
    started = performance.now();
  }
  trainer.dispose();

  await standardise(vae, unseen);
  log(`autoencoder: ${(await reconstructionQuality(vae, unseen)).toFixed(2)} dB with standardised latents`);
  await vae.savePretrained(done);
  writeFileSync(join(folder, "autoencoder.json"), `${JSON.stringify(history, null, 1)}\n`);
  rmSync(place, { recursive: true, force: true });
  return done;
}

/**
 * Gives the latents mean 0 and deviation 1 in every channel, by the 1×1 convolutions behind the encoder and before the
 * decoder; the images stay the same. The UNet then sees both its inputs at the scale of its noise.
 */
async function standardise(vae, bytes) {
  const channels = AUTOENCODER.config.latent_channels;
  const x = batchOf(
    bytes,
    Array.from({ length: CHECKED }, (_, i) => i),
  );
  const { mean, logvar } = await vae.encode(x);
  const values = await mean.toArray();
  for (const tensor of [x, mean, logvar]) tensor.dispose();
  const area = values.length / CHECKED / channels;
  const statistics = Array.from({ length: channels }, (_, c) => {
    let [sum, squares] = [0, 0];
    for (let i = 0; i < CHECKED; i++)
      for (let j = 0; j < area; j++) {
        const value = values[(i * channels + c) * area + j];
        sum += value;
        squares += value * value;
      }
    const centre = sum / (CHECKED * area);
    return { centre, deviation: Math.sqrt(squares / (CHECKED * area) - centre ** 2) };
  });

  const state = await vae.stateDict();
  const change = async (name, body) => {
    const tensor = state[name];
    const numbers = Float32Array.from(await tensor.toArray());
    body(numbers);
    const changed = Tensor.from(numbers, tensor.shape);
    await restoreTensors({ [name]: tensor }, { [name]: changed }, name);
    changed.dispose();
  };
  const post = Float32Array.from(await state["post_quant_conv.weight"].toArray());
  await change("quant_conv.weight", (w) => {
    const row = w.length / (2 * channels);
    for (const [c, { deviation }] of statistics.entries()) for (let i = 0; i < row; i++) w[c * row + i] /= deviation;
  });
  await change("quant_conv.bias", (b) => {
    for (const [c, { centre, deviation }] of statistics.entries()) {
      b[c] = (b[c] - centre) / deviation;
      b[channels + c] -= 2 * Math.log(deviation);
    }
  });
  await change("post_quant_conv.bias", (b) => {
    for (let i = 0; i < channels; i++)
      for (const [c, { centre }] of statistics.entries()) b[i] += post[i * channels + c] * centre;
  });
  await change("post_quant_conv.weight", (w) => {
    for (let i = 0; i < channels; i++)
      for (const [c, { deviation }] of statistics.entries()) w[i * channels + c] *= deviation;
  });
  disposeRecord(state);
}
