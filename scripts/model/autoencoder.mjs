import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AutoencoderKL, Generator, loadSafetensors, saveSafetensors, Tensor } from "../../dist/index.js";
import { AutoencoderTrainer } from "../../dist/training/autoencoder-trainer.js";
import { disposeRecord, restoreTensors } from "../../dist/training/named-tensors.js";
import { computesInBfloat16 } from "./precision.mjs";

const SAVE_EVERY = 250;

/**
 * The pixels of square images as bytes [count,3,size,size].
 *
 * @param {(index: number) => Promise<{ data: Uint8Array }>} draw an image of 8-bit RGB, row by row
 */
export async function stackImages(count, size, draw, signal) {
  const area = size * size;
  const all = new Uint8Array(count * 3 * area);
  for (let first = 0; first < count; first += 64) {
    signal?.throwIfAborted();
    await Promise.all(
      Array.from({ length: Math.min(64, count - first) }, async (_, i) => {
        const { data } = await draw(first + i);
        for (let pixel = 0; pixel < area; pixel++)
          for (let c = 0; c < 3; c++) all[((first + i) * 3 + c) * area + pixel] = data[3 * pixel + c];
      }),
    );
  }
  return all;
}

/** Rows of the bytes, scaled to -1..1. */
function batchOf(bytes, rows, size) {
  const values = 3 * size * size;
  const scaled = new Float32Array(rows.length * values);
  for (const [i, row] of rows.entries())
    for (let j = 0; j < values; j++) scaled[i * values + j] = bytes[row * values + j] / 127.5 - 1;
  return Tensor.from(scaled, [rows.length, 3, size, size]);
}

/** Reconstruction of images that were not trained on, in decibels: 10·log10(1 / mean squared error in 0..1). */
export async function reconstructionQuality(vae, bytes, size) {
  let error = 0;
  const count = bytes.length / (3 * size * size);
  for (let first = 0; first < count; first += 32) {
    const x = batchOf(
      bytes,
      Array.from({ length: Math.min(32, count - first) }, (_, i) => first + i),
      size,
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

function learningRate(step, { learningRate: top, warmup, steps }) {
  if (step < warmup) return (top * (step + 1)) / warmup;
  return top * 0.5 * (1 + Math.cos((Math.PI * (step - warmup)) / (steps - warmup)));
}

/**
 * Trains an autoencoder, or resumes where an earlier call was stopped.
 *
 * @param {string} folder gets `vae/`, a model folder, when it is done
 * @param {object} settings config, size, steps, batch, learningRate, warmup, klWeight
 * @param {() => Promise<Uint8Array>} draw the images to learn from, [count,3,size,size]
 * @param {() => Promise<Uint8Array>} drawUnseen others to check it with
 * @param {(line: string) => void} log
 * @param {AbortSignal} signal ends it: what has been saved, every 250 steps, stays
 */
export async function trainAutoencoder(folder, settings, { draw, drawUnseen, log, signal }) {
  const { config, size, steps, batch, klWeight } = settings;
  const done = join(folder, "vae");
  if (existsSync(done)) return done;
  mkdirSync(folder, { recursive: true });
  log("drawing images");
  const [bytes, unseen] = [await draw(), await drawUnseen()];
  const count = bytes.length / (3 * size * size);

  const place = join(folder, "vae-checkpoint");
  const resumed = existsSync(place) ? JSON.parse(readFileSync(join(place, "state.json"), "utf8")) : undefined;
  const vae = resumed
    ? await AutoencoderKL.fromPretrained(join(place, "vae"))
    : await AutoencoderKL.fromConfig(config, { generator: new Generator("cpu", 0) });
  const trainer = await AutoencoderTrainer.create(vae, {
    ...{ adamBeta1: 0.9, adamBeta2: 0.99, adamEpsilon: 1e-8, adamWeightDecay: 0 },
    ...{
      optimizer: "adamw",
      useEma: false,
      gradientCheckpointing: false,
      shadowWeights: false,
      mixedPrecision: computesInBfloat16("cpu") ? "bfloat16" : null,
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
  for (let step = resumed?.step ?? 0; step < steps; ) {
    signal?.throwIfAborted();
    const drawn = await Tensor.randint(0, count, [batch], { generator });
    const x = batchOf(bytes, Array.from(await drawn.toArray(), Number), size);
    const edge = size / vae.scaleFactor;
    const noise = await Tensor.randn([batch, config.latent_channels, edge, edge], { generator });
    const loss = await trainer.accumulate({ x, noise, klWeight }, 1);
    for (const tensor of [drawn, x, noise, loss]) tensor.dispose();
    await trainer.step(learningRate(step, settings), 1);
    step += 1;
    if (step % SAVE_EVERY !== 0 && step !== steps) continue;
    const decibels = await reconstructionQuality(vae, unseen, size);
    const seconds = (performance.now() - started) / 1000;
    history.push({ step, decibels, seconds });
    log(`autoencoder: step ${step} of ${steps}, ${decibels.toFixed(2)} dB, ${seconds.toFixed(0)} s`);
    await save(step);
    started = performance.now();
  }
  trainer.dispose();

  await standardise(vae, unseen, size);
  log(`autoencoder: ${(await reconstructionQuality(vae, unseen, size)).toFixed(2)} dB with standardised latents`);
  await vae.savePretrained(done);
  writeFileSync(join(folder, "autoencoder.json"), `${JSON.stringify(history, null, 1)}\n`);
  rmSync(place, { recursive: true, force: true });
  return done;
}

/**
 * Gives the latents mean 0 and deviation 1 in every channel, by the 1×1 convolutions behind the encoder and before the
 * decoder; the images stay the same. The UNet then sees both its inputs at the scale of its noise.
 */
async function standardise(vae, bytes, size) {
  const channels = vae.config.latent_channels;
  const count = bytes.length / (3 * size * size);
  const x = batchOf(
    bytes,
    Array.from({ length: count }, (_, i) => i),
    size,
  );
  const { mean, logvar } = await vae.encode(x);
  const values = await mean.toArray();
  for (const tensor of [x, mean, logvar]) tensor.dispose();
  const area = values.length / count / channels;
  const statistics = Array.from({ length: channels }, (_, c) => {
    let [sum, squares] = [0, 0];
    for (let i = 0; i < count; i++)
      for (let j = 0; j < area; j++) {
        const value = values[(i * channels + c) * area + j];
        sum += value;
        squares += value * value;
      }
    const centre = sum / (count * area);
    return { centre, deviation: Math.sqrt(squares / (count * area) - centre ** 2) };
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
