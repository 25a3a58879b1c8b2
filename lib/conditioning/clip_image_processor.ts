import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { InstructPix2PixError } from "../core/errors.js";
import { Tensor } from "../core/tensor.js";
import { readConfig } from "../files/config.js";
import { toJson } from "../files/json.js";
import { type ImageSource, type LoadImageOptions, RgbImage } from "../images/index.js";
import { loadStored } from "../images/load.js";
import type { RgbPixels } from "../images/pixels.js";
import { type ResampleFilter, resizePixels } from "../images/resize.js";
import { onWhite } from "../images/stored.js";
import { type JsonObject, unsupported } from "../models/schema.js";

/** The file with a processor's configuration. */
export const PROCESSOR_CONFIG = "preprocessor_config.json";

/** Pillow's numbers of its filters. */
const FILTERS: readonly ResampleFilter[] = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"];
const LARGEST = 2 ** 14;
const CHANNELS = 3;

/** A processor's settings, as read from its configuration. */
interface Settings {
  /** The shorter edge, or both; undefined: images are not resized. */
  readonly size: { readonly shortestEdge: number } | { readonly height: number; readonly width: number } | undefined;
  readonly filter: ResampleFilter;
  /** Undefined: images are not cropped. */
  readonly crop: { readonly height: number; readonly width: number } | undefined;
  /** Undefined: values stay 0..255. */
  readonly scale: number | undefined;
  /** Undefined: values are not normalised. */
  readonly normal: { readonly mean: readonly number[]; readonly std: readonly number[] } | undefined;
}

/** The defaults of transformers' class: CLIP's size and statistics. */
const DEFAULTS: JsonObject = {
  do_resize: true,
  size: { shortest_edge: 224 },
  resample: 3,
  do_center_crop: true,
  crop_size: { height: 224, width: 224 },
  do_rescale: true,
  rescale_factor: 1 / 255,
  do_normalize: true,
  image_mean: [0.48145466, 0.4578275, 0.40821073],
  image_std: [0.26862954, 0.26130258, 0.27577711],
};

/**
 * Prepares images for CLIP's image encoder as transformers' class of this name does with Pillow: the shorter edge is resized,
 * the middle is cut out, and the values are normalised.
 *
 * @example
 * ```js
 * import { CLIPImageProcessor } from "instruct-pix2pix";
 *
 * const processor = new CLIPImageProcessor({ size: { shortest_edge: 224 }, crop_size: { height: 224, width: 224 } });
 * const pixelValues = await processor.preprocess("photo.jpg");
 * console.log(pixelValues.shape); // [ 1, 3, 224, 224 ]
 * ```
 */
export class CLIPImageProcessor {
  /** The configuration as it was given, with transformers' keys. */
  readonly config: Readonly<JsonObject>;
  readonly #settings: Settings;

  /**
   * @param config as in `preprocessor_config.json`; missing keys get transformers' defaults, 224 pixels among them
   * @throws `ERR_CONFIG`
   */
  constructor(config: JsonObject = {}) {
    this.config = Object.freeze({ ...config });
    this.#settings = settingsOf({ ...DEFAULTS, ...config }, "the image processor's configuration");
  }

  /**
   * Loads a folder with `preprocessor_config.json`.
   *
   * @throws `ERR_FILE_NOT_FOUND`, `ERR_IO`, `ERR_CONFIG`
   */
  static async fromPretrained(folder: string): Promise<CLIPImageProcessor> {
    const path = join(folder, PROCESSOR_CONFIG);
    const config = await readConfig(path);
    settingsOf({ ...DEFAULTS, ...config }, path);
    return new CLIPImageProcessor(config);
  }

  /** @internal The size of what {@link preprocess} makes; undefined where it depends on the image. */
  get outputSize(): { readonly height: number; readonly width: number } | undefined {
    return this.#settings.crop;
  }

  /** Writes `preprocessor_config.json`. @throws `ERR_IO` */
  async savePretrained(folder: string): Promise<void> {
    await mkdir(folder, { recursive: true });
    const named = { image_processor_type: "CLIPImageProcessor", ...DEFAULTS, ...this.config };
    await writeFile(join(folder, PROCESSOR_CONFIG), `${toJson(named, 2)}\n`);
  }

  /**
   * The input of the image encoder.
   *
   * @param image one image, or several. What is transparent in a file shows white, as transformers 5.24 has it for what
   *   Pillow opens; an RgbImage has no alpha, as what diffusers' `load_image` gives
   * @returns float32 [B,3,H,W] on the CPU
   * @throws as {@link loadImage}; `ERR_INVALID_ARGUMENT` for images that become different sizes
   */
  async preprocess(
    image: ImageSource | readonly ImageSource[],
    options: Pick<LoadImageOptions, "signal"> = {},
  ): Promise<Tensor> {
    const sources = (Array.isArray(image) ? image : [image]) as readonly ImageSource[];
    if (sources.length === 0) throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "image is an empty list");
    const planes: Float32Array[] = [];
    const sizes = new Set<string>();
    for (const source of sources) {
      const image = source instanceof RgbImage ? source : onWhite(await loadStored(source, options));
      const { values, height, width } = await this.#values(image);
      planes.push(values);
      sizes.add(`${height},${width}`);
    }
    const [size] = sizes;
    if (sizes.size > 1)
      throw new InstructPix2PixError(
        "ERR_INVALID_ARGUMENT",
        "images of different sizes need a processor that crops them to one (do_center_crop)",
      );
    const all = new Float32Array(planes.length * planes[0]!.length);
    for (const [i, values] of planes.entries()) all.set(values, i * values.length);
    return Tensor.from(all, [planes.length, CHANNELS, ...size!.split(",").map(Number)]);
  }

  async #values(image: RgbPixels): Promise<{ values: Float32Array; height: number; width: number }> {
    const { size, filter, crop, scale, normal } = this.#settings;
    const target = size && resized(image, size);
    const { data, width, height } = target ? await resizePixels(image, target.width, target.height, filter) : image;
    const box = crop ?? { height, width };
    const top = Math.floor((height - box.height) / 2);
    const left = Math.floor((width - box.width) / 2);
    const values = new Float32Array(CHANNELS * box.height * box.width);
    for (let channel = 0; channel < CHANNELS; channel++) {
      // Rounded where transformers rounds to float32.
      const table = Float32Array.from({ length: 256 }, (_, value) => {
        const scaled = Math.fround(scale === undefined ? value : value * scale);
        if (!normal) return scaled;
        const centred = Math.fround(scaled - Math.fround(normal.mean[channel]!));
        return centred / Math.fround(normal.std[channel]!);
      });
      for (let y = 0; y < box.height; y++)
        for (let x = 0; x < box.width; x++) {
          const [row, column] = [top + y, left + x];
          const inside = row >= 0 && row < height && column >= 0 && column < width;
          const value = inside ? data[(row * width + column) * CHANNELS + channel]! : 0;
          values[(channel * box.height + y) * box.width + x] = table[value]!;
        }
    }
    return { values, height: box.height, width: box.width };
  }
}

/** The size that an image is resized to; the longer edge is rounded down. */
function resized(
  { width, height }: Pick<RgbPixels, "width" | "height">,
  size: NonNullable<Settings["size"]>,
): { width: number; height: number } {
  if (!("shortestEdge" in size)) return size;
  const { shortestEdge: short } = size;
  const long = Math.trunc((short * Math.max(width, height)) / Math.min(width, height));
  return width <= height ? { width: short, height: long } : { width: long, height: short };
}

function settingsOf(config: JsonObject, where: string): Settings {
  const flag = (key: string) => {
    const value = config[key];
    if (typeof value !== "boolean") throw unsupported(where, key, value, "true or false");
    return value;
  };
  const edge = (key: string, value: unknown) => {
    if (!Number.isSafeInteger(value) || Number(value) < 1 || Number(value) > LARGEST)
      throw unsupported(where, key, config[key], `edges that are integers in 1..${LARGEST}`);
    return value as number;
  };
  const box = (key: string) => {
    const value = config[key];
    if (typeof value === "number") return { height: edge(key, value), width: edge(key, value) };
    const { height, width } = Object(value) as JsonObject;
    return { height: edge(key, height), width: edge(key, width) };
  };
  const size = () => {
    const { size: value } = config;
    if (typeof value === "number") return { shortestEdge: edge("size", value) };
    const { shortest_edge: short } = Object(value) as JsonObject;
    return short === undefined ? box("size") : { shortestEdge: edge("size", short) };
  };
  const threeNumbers = (key: string) => {
    const value = config[key];
    const list = Array.isArray(value) ? value : [];
    if (list.length !== CHANNELS || !list.every((each) => Number.isFinite(each)))
      throw unsupported(where, key, value, `${CHANNELS} numbers`);
    return list as number[];
  };
  const filter = FILTERS[config.resample as number];
  if (filter === undefined) throw unsupported(where, "resample", config.resample, "a number of Pillow's filters, 0..5");
  const { rescale_factor: factor } = config;
  if (typeof factor !== "number" || !Number.isFinite(factor))
    throw unsupported(where, "rescale_factor", factor, "a number");
  const normal = flag("do_normalize")
    ? { mean: threeNumbers("image_mean"), std: threeNumbers("image_std") }
    : undefined;
  if (normal?.std.includes(0)) throw unsupported(where, "image_std", normal.std, "numbers without 0");
  return {
    size: flag("do_resize") ? size() : undefined,
    filter,
    crop: flag("do_center_crop") ? box("crop_size") : undefined,
    scale: flag("do_rescale") ? factor : undefined,
    normal,
  };
}
