// Writes a pipeline folder of Stable Diffusion 1.5 size with random weights, for benchmarks and tests of the full size:
//
//   node scripts/make-random-model.mjs FOLDER [--dtype float32|float16|bfloat16] [--seed 0] [--source FOLDER] [--channels N]
//
// Configurations, tensor names and shapes are those of the published InstructPix2Pix (test/fixtures/full-size), the
// vocabulary is CLIP's. The same seed and type give the same files. Weights are normal with a variance of 1/fan-in, norms
// near 1, so that activations stay in range in every type. --channels 4 makes a text-to-image model, 9 one for inpainting; --source
// names other configurations and names of tensors (test/fixtures/full-size-x4-upscaler, full-size-sdxl-edit, full-size-kandinsky22-decoder
// and -prior). Memory use is small: tensors are written in chunks.

import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const CHUNK = 1 << 20; // elements

/** Each type's safetensors name, its typed array, and its conversion from a number. */
const TYPES = {
  float32: { name: "F32", Array: Float32Array, encode: (x) => x },
  bfloat16: { name: "BF16", Array: Uint16Array, encode: toBfloat16 },
  float16: { name: "F16", Array: Uint16Array, encode: toFloat16 },
};

const bits = new Uint32Array(1);
const float = new Float32Array(bits.buffer);

function toBfloat16(x) {
  float[0] = x;
  return (bits[0] + 0x7fff + ((bits[0] >>> 16) & 1)) >>> 16;
}

/** Float16 bits of a number far below 65504, as weights are. */
function toFloat16(x) {
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(x);
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), -14);
  if (magnitude === 0) return sign;
  const scaled = magnitude / 2 ** (exponent - 10); // 1024..2047, below 1024 if subnormal
  const floor = Math.floor(scaled);
  const rest = scaled - floor;
  const mantissa = rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
  return sign | (mantissa + ((exponent + 14) << 10)); // a carry runs into the exponent, as it should
}

/** Quantiles of the standard normal at the middle of 2¹⁶ equal intervals; sampling picks one at random. */
function normalQuantiles() {
  const count = 1 << 16;
  const quantiles = new Float64Array(count);
  // Acklam's rational approximation, relative error 1.15e-9.
  const a = [
    -39.69683028665376, 220.9460984245205, -275.9285104469687, 138.357751867269, -30.66479806614716, 2.506628277459239,
  ];
  const b = [-54.47609879822406, 161.5858368580409, -155.6989798598866, 66.80131188771972, -13.28068155288572, 1];
  const c = [
    -0.007784894002430293, -0.3223964580411365, -2.400758277161838, -2.549732539343734, 4.374664141464968,
    2.938163982698783,
  ];
  const d = [0.007784695709041462, 0.3224671290700398, 2.445134137142996, 3.754408661907416, 1];
  const polynomial = (coefficients, x) => coefficients.reduce((sum, value) => sum * x + value, 0);
  for (let i = 0; i < count / 2; i++) {
    const p = (i + 0.5) / count;
    let x;
    if (p < 0.02425) {
      const q = Math.sqrt(-2 * Math.log(p));
      x = polynomial(c, q) / polynomial(d, q);
    } else {
      const q = p - 0.5;
      x = (polynomial(a, q * q) * q) / polynomial(b, q * q);
    }
    quantiles[i] = x;
    quantiles[count - 1 - i] = -x;
  }
  return quantiles;
}

const QUANTILES = normalQuantiles();

/** sfc32 (Chris Doty-Humphrey's small fast counting generator): 32 random bits per call. */
function sfc32(seed, stream) {
  let [a, b, c, counter] = [seed | 0, stream | 0, 0x9e3779b9 | 0, 1];
  const next = () => {
    const t = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return t;
  };
  for (let i = 0; i < 12; i++) next();
  return next;
}

/** Mean and standard deviation of a tensor's elements. */
function distribution(name, shape) {
  if (/norm[^.]*\.weight$|group_norm\.weight$|layer_norm\d?\.weight$/.test(name)) return { mean: 1, deviation: 0.1 };
  if (name === "clip_std") return { mean: 1, deviation: 0.1 };
  if (shape.length === 1) return { mean: 0, deviation: 0.02 };
  if (name.includes("embedding.weight")) return { mean: 0, deviation: 0.02 };
  const fanIn = shape.slice(1).reduce((product, size) => product * size, 1);
  return { mean: 0, deviation: 1 / Math.sqrt(fanIn) };
}

function count(shape) {
  return shape.reduce((product, size) => product * size, 1);
}

/** Writes one safetensors file; `path` appears only when the file is complete. */
function writeWeights(path, keys, type, seed) {
  const header = { __metadata__: { format: "pt" } };
  let end = 0;
  for (const [name, shape] of Object.entries(keys)) {
    const indices = name.endsWith("position_ids");
    const bytes = count(shape) * (indices ? 8 : type.Array.BYTES_PER_ELEMENT);
    header[name] = { dtype: indices ? "I64" : type.name, shape, data_offsets: [end, (end += bytes)] };
  }
  const text = JSON.stringify(header);
  const padded = Buffer.from(text + " ".repeat(-Buffer.byteLength(text) & 7));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));

  const partial = `${path}.partial`;
  const file = openSync(partial, "w");
  try {
    const write = (bytes) => {
      for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
    };
    write(length);
    write(padded);
    const buffer = new type.Array(CHUNK);
    const table = new type.Array(QUANTILES.length);
    for (const [index, [name, shape]] of Object.entries(keys).entries()) {
      if (name.endsWith("position_ids")) {
        const ids = BigInt64Array.from({ length: count(shape) }, (_, i) => BigInt(i));
        write(new Uint8Array(ids.buffer));
        continue;
      }
      const { mean, deviation } = distribution(name, shape);
      for (let i = 0; i < table.length; i++) table[i] = type.encode(Math.fround(mean + deviation * QUANTILES[i]));
      const random = sfc32(seed, index + 1);
      for (let left = count(shape); left > 0; left -= CHUNK) {
        const size = Math.min(left, CHUNK);
        for (let i = 0; i < size; i += 2) {
          const word = random();
          buffer[i] = table[word & 0xffff];
          buffer[i + 1] = table[word >>> 16];
        }
        write(new Uint8Array(buffer.buffer, 0, size * buffer.BYTES_PER_ELEMENT));
      }
    }
  } catch (error) {
    rmSync(partial, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
  renameSync(partial, path);
}

/** The pipeline of a UNet with so many input channels. */
const CLASSES = { 4: "StableDiffusionPipeline", 9: "StableDiffusionInpaintPipeline" };

const readJson = (path) => JSON.parse(readFileSync(path, "utf8"));
const writeJson = (path, value) => writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);

/**
 * Makes the folder.
 *
 * @param {string} folder must not exist or be empty
 * @param {{ dtype?: keyof typeof TYPES, seed?: number, source?: string, channels?: number, log?: (line: string) => void }} options `source`
 *   holds the configurations and key lists; `channels`: of the UNet's input, by default as the source has them
 */
export function makeRandomModel(folder, options = {}) {
  const { dtype = "float32", seed = 0, channels, log = () => {} } = options;
  const source = options.source ?? join(root, "test", "fixtures", "full-size");
  if (!Object.hasOwn(TYPES, dtype)) throw new Error(`--dtype must be one of ${Object.keys(TYPES).join(", ")}`);
  if (!Number.isSafeInteger(seed) || seed < 0) throw new Error("--seed must be an integer of at least 0");
  if (existsSync(folder) && readdirSync(folder).length > 0) throw new Error(`${folder} exists and is not empty`);

  const has = (name) => existsSync(join(source, name));
  const ofDiffusers = ["unet", "vae", "movq", "prior"];
  const parts = ["unet", "vae", "text_encoder", "text_encoder_2", "movq", "prior", "image_encoder"].filter(has);
  for (const [index, part] of parts.entries()) {
    const stem = ofDiffusers.includes(part) ? "diffusion_pytorch_model" : "model";
    mkdirSync(join(folder, part), { recursive: true });
    // As text, since transformers refuses 1 where the file says 1.0.
    let config = readFileSync(join(source, part, "config.json"), "utf8");
    const keys = readJson(join(source, part, "keys.json"));
    if (part === "unet" && channels !== undefined) {
      config = config.replace(/"in_channels": \d+/, `"in_channels": ${channels}`);
      keys["conv_in.weight"][1] = channels;
    }
    writeFileSync(join(folder, part, "config.json"), config);
    log(`${part}: writing ${dtype} weights`);
    writeWeights(join(folder, part, `${stem}.safetensors`), keys, TYPES[dtype], seed * 4 + index);
  }

  for (const part of ["scheduler", "low_res_scheduler"].filter(has)) {
    mkdirSync(join(folder, part), { recursive: true });
    copyFileSync(join(source, part, "scheduler_config.json"), join(folder, part, "scheduler_config.json"));
  }
  if (has("text_encoder")) writeTokenizer(join(folder, "tokenizer"));
  if (has("image_encoder"))
    writeImageProcessor(join(folder, "image_processor"), readJson(join(source, "image_encoder", "config.json")));
  const isXL = has("text_encoder_2");
  if (isXL) writeTokenizer(join(folder, "tokenizer_2"), "!"); // OpenCLIP's texts are padded with the id 0
  // There are no weights for a safety checker. Written last: it marks the folder as a pipeline.
  const index = readJson(join(source, "model_index.json"));
  writeJson(join(folder, "model_index.json"), {
    ...index,
    _class_name: CLASSES[channels] ?? index._class_name,
    ...(has("vae") &&
      !isXL && { feature_extractor: [null, null], safety_checker: [null, null], requires_safety_checker: false }),
  });
}

/** CLIP's tokenizer. */
function writeTokenizer(folder, padToken = "<|endoftext|>") {
  mkdirSync(folder, { recursive: true });
  for (const name of ["vocab.json", "merges.txt"])
    copyFileSync(join(root, "models", "clip-tokenizer", name), join(folder, name));
  const end = "<|endoftext|>";
  const special = { bos_token: "<|startoftext|>", eos_token: end, pad_token: padToken, unk_token: end };
  writeJson(join(folder, "special_tokens_map.json"), special);
  writeJson(join(folder, "tokenizer_config.json"), {
    tokenizer_class: "CLIPTokenizer",
    model_max_length: 77,
    add_prefix_space: false,
    do_lower_case: true,
    errors: "replace",
    ...special,
  });
}

/** What prepares images for CLIP's image encoder. */
function writeImageProcessor(folder, { image_size: side }) {
  mkdirSync(folder, { recursive: true });
  writeJson(join(folder, "preprocessor_config.json"), {
    image_processor_type: "CLIPImageProcessor",
    ...{ do_resize: true, size: { shortest_edge: side }, resample: 3 },
    ...{ do_center_crop: true, crop_size: { height: side, width: side } },
    ...{ do_rescale: true, rescale_factor: 1 / 255, do_convert_rgb: true, do_normalize: true },
    image_mean: [0.48145466, 0.4578275, 0.40821073],
    image_std: [0.26862954, 0.26130258, 0.27577711],
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        dtype: { type: "string", default: "float32" },
        seed: { type: "string", default: "0" },
        source: { type: "string" },
        channels: { type: "string" },
      },
    });
    if (positionals.length !== 1) throw new Error("give one output folder");
    const [folder] = positionals;
    const channels = values.channels === undefined ? undefined : Number(values.channels);
    const numbers = { seed: Number(values.seed), channels };
    makeRandomModel(folder, { ...values, ...numbers, log: console.log });
    console.log(`${folder}: done`);
  } catch (error) {
    console.error(`make-random-model: ${error.message}`);
    process.exitCode = 1;
  }
}
