import { describe } from "../core/arguments.js";
import { InstructPix2PixError } from "../core/errors.js";
import { Scope } from "../core/scope.js";
import { Tensor } from "../core/tensor.js";
import { sizeForFactor } from "../images/resize.js";
import { greyOf, resizeStored, type StoredPixels } from "../images/stored.js";
import { native } from "../runtime/native.js";
import { givenNotFinite } from "./finite.js";

/** A mask: images as their files hold them, or tensors. */
export type MaskPart = StoredPixels | Tensor;

export interface MaskOptions {
  factor: number;
  size: { height: number; width: number };
  allowNonFinite: boolean;
}

/**
 * Masks as tensors: float32 [B,1,H,W], 1 where the image is painted anew, 0 where it stays.
 *
 * Images are resized with Lanczos (indexed ones by nearest neighbour, as in Pillow) and converted to grey; tensors [H,W],
 * [B,H,W] or [B,1,H,W] are resized by nearest neighbour. Values from 0.5 on count as 1.
 *
 * @throws `ERR_INVALID_ARGUMENT` for NaN or infinity
 */
export async function prepareMask(parts: readonly MaskPart[], options: MaskOptions): Promise<Tensor> {
  const size = sizeForFactor(options.size, options.factor);
  using scope = new Scope();
  const rows: Tensor[] = [];
  for (const part of parts)
    rows.push(
      scope.add(
        part instanceof Tensor
          ? await fromTensor(part, { ...options, size })
          : await fromPicture(part, { ...options, size }),
      ),
    );
  const all = scope.add(await Tensor.cat(rows, 0));
  return await binary(all);
}

async function fromPicture(picture: StoredPixels, { size }: MaskOptions): Promise<Tensor> {
  const { width, height } = size;
  const grey = greyOf(await resizeStored(picture, width, height, "lanczos"));
  using bytes = Tensor.from(grey, [1, 1, height, width]);
  using float = await bytes.to({ dtype: "float32" });
  return await Tensor.linearCombination([[1 / 255, float]]);
}

/** The shape of a mask as [B,1,H,W]. Throws for others. */
export function maskShape(mask: Tensor): number[] {
  const { shape } = mask;
  const planes =
    shape.length === 2 ? [1, 1, ...shape] : shape.length === 3 ? [shape[0]!, 1, shape[1]!, shape[2]!] : [...shape];
  if (planes.length !== 4 || planes[1] !== 1 || planes.includes(0))
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `maskImage must be an image, or a tensor [H,W], [B,H,W] or [B,1,H,W], not ${describe(mask)} [${shape}]`,
    );
  return planes;
}

async function fromTensor(mask: Tensor, { size, allowNonFinite }: MaskOptions): Promise<Tensor> {
  const planes = maskShape(mask);
  if (!allowNonFinite && !(await mask.isFinite())) throw givenNotFinite("maskImage");
  using float = await mask.to({ dtype: "float32", device: "cpu" });
  using shaped = await float.reshape(planes);
  return new Tensor(await native().resizeNearest(shaped.handle, size.height, size.width));
}

/** The float32 before 0.5. */
const BELOW_HALF = 0.5 - 2 ** -25;

/** 1 from 0.5 on, else 0, of float32: clamping to two neighbours leaves nothing but them. */
async function binary(mask: Tensor): Promise<Tensor> {
  using two = await mask.clamp(BELOW_HALF, 0.5);
  using difference = await two.sub(BELOW_HALF);
  return await difference.mul(2 ** 25);
}
