import { describe } from "../core/arguments.js";
import { InstructPix2PixError } from "../core/errors.js";
import { Scope } from "../core/scope.js";
import { Tensor } from "../core/tensor.js";
import { type ImageSource, type LoadImageOptions, loadImage, type RgbImage } from "../images/index.js";
import { sizeForFactor } from "../images/resize.js";
import { native } from "../runtime/native.js";
import { givenNotFinite } from "./finite.js";
import type { PipelineImage } from "./image-input.js";

export interface MaskOptions extends LoadImageOptions {
  factor: number;
  size: { height: number; width: number };
  allowNonFinite: boolean;
}

/** Weights of red, green and blue in Pillow's conversion to grey (ITU-R 601-2), in 1/65536. */
const GREY = [19595, 38470, 7471] as const;

/**
 * Masks as tensors: float32 [B,1,H,W], 1 where the picture is painted anew, 0 where it stays.
 *
 * Pictures are resized with Lanczos and converted to grey as Pillow does it, tensors [B,H,W] or [B,1,H,W] by nearest
 * neighbour; values from 0.5 on count as 1.
 *
 * @throws what {@link loadImage} throws, `ERR_INVALID_ARGUMENT` for tensors of another shape
 */
export async function prepareMask(mask: PipelineImage, options: MaskOptions): Promise<Tensor> {
  const list = (Array.isArray(mask) ? mask : [mask]) as readonly (ImageSource | Tensor)[];
  if (list.length === 0) throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "maskImage is an empty list");
  const { height, width } = sizeForFactor(options.size, options.factor);
  using scope = new Scope();
  const rows: Tensor[] = [];
  for (const part of list)
    rows.push(
      scope.add(
        part instanceof Tensor
          ? await fromTensor(part, { ...options, size: { height, width } })
          : await fromPicture(part, { ...options, size: { height, width } }),
      ),
    );
  const all = scope.add(await Tensor.cat(rows, 0));
  return await binary(all);
}

async function fromPicture(source: ImageSource, { size, signal }: MaskOptions): Promise<Tensor> {
  const loaded = await loadImage(source, signal ? { signal } : {});
  const grey = greyOf(await loaded.resize(size.width, size.height, "lanczos"));
  const unit = Float32Array.from(grey, (value) => value / 255);
  return Tensor.from(unit, [1, 1, size.height, size.width]);
}

/** A picture in grey, as Pillow converts it: height · width bytes. */
export function greyOf({ data }: Pick<RgbImage, "data">): Uint8Array {
  const [r, g, b] = GREY;
  const grey = new Uint8Array(data.length / 3);
  for (let i = 0; i < grey.length; i++)
    grey[i] = (data[3 * i]! * r + data[3 * i + 1]! * g + data[3 * i + 2]! * b + 0x8000) >> 16;
  return grey;
}

async function fromTensor(mask: Tensor, { size, allowNonFinite }: MaskOptions): Promise<Tensor> {
  const { shape } = mask;
  const planes =
    shape.length === 2 ? [1, 1, ...shape] : shape.length === 3 ? [shape[0]!, 1, shape[1]!, shape[2]!] : shape;
  if (planes.length !== 4 || planes[1] !== 1 || planes.includes(0))
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `maskImage must be a picture, or a tensor [B,H,W] or [B,1,H,W], not ${describe(mask)} [${shape}]`,
    );
  if (!allowNonFinite && !(await mask.isFinite())) throw givenNotFinite("maskImage");
  using float = await mask.to({ dtype: "float32", device: "cpu" });
  using shaped = await float.reshape(planes);
  return new Tensor(await native().resizeNearest(shaped.handle, size.height, size.width));
}

/** 1 from 0.5 on, else 0. */
async function binary(mask: Tensor): Promise<Tensor> {
  const values = (await mask.toArray()) as Float32Array;
  return Tensor.from(
    Float32Array.from(values, (value) => (value >= 0.5 ? 1 : 0)),
    mask.shape,
  );
}
