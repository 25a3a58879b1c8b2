import { InstructPix2PixError } from "../errors.js";
import { type ImageSource, type LoadImageOptions, loadImage, type RgbImage } from "../images.js";
import { native } from "../native/native.js";
import { disposeAll, Tensor } from "../tensor.js";

/** A picture, several, or a tensor [B,3,H,W] in 0..1. */
export type PipelineImage = ImageSource | readonly ImageSource[] | Tensor;

/**
 * Brings pictures to the form that an autoencoder takes: float32 [B,3,H,W] in -1..1, each side a multiple of `factor`.
 *
 * Pictures are resized with Lanczos as Pillow does it, all of them to the size of the first, rounded down; tensors are
 * resized to the nearest neighbour, both as in diffusers.
 *
 * @throws what {@link loadImage} throws, `ERR_IMAGE` for a picture smaller than `factor`, `ERR_INVALID_ARGUMENT` for a
 *   tensor of another shape
 */
export async function prepareImage(image: PipelineImage, factor: number, options: LoadImageOptions): Promise<Tensor> {
  using unit = image instanceof Tensor ? await fromTensor(image, factor) : await fromPictures(image, factor, options);
  using doubled = await unit.mul(2);
  return await doubled.sub(1);
}

async function fromPictures(
  image: ImageSource | readonly ImageSource[],
  factor: number,
  options: LoadImageOptions,
): Promise<Tensor> {
  const sources = (Array.isArray(image) ? image : [image]) as readonly ImageSource[];
  if (sources.length === 0) throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "image is an empty list");
  const pictures: RgbImage[] = [];
  for (const source of sources) pictures.push(await loadImage(source, options));
  const first = await pictures[0]!.toMultipleOf(factor);
  const rows: Tensor[] = [];
  try {
    for (const [i, picture] of pictures.entries()) {
      const { data, width, height } = i === 0 ? first : await picture.resize(first.width, first.height, "lanczos");
      rows.push(new Tensor(await native().pictureToTensor(data, width, height)));
    }
    return await Tensor.cat(rows, 0);
  } finally {
    disposeAll(...rows);
  }
}

async function fromTensor(image: Tensor, factor: number): Promise<Tensor> {
  const [B, C, H, W] = image.shape;
  if (image.shape.length !== 4 || C !== 3 || !B)
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `image must be [B,3,H,W], not [${image.shape}]`);
  const [height, width] = [H! - (H! % factor), W! - (W! % factor)];
  if (height === 0 || width === 0)
    throw new InstructPix2PixError(
      "ERR_IMAGE",
      `image is ${W}×${H}, smaller than the model's ${factor}×${factor} unit`,
    );
  using float = await image.to({ dtype: "float32" });
  return new Tensor(await native().resizeNearest(float.handle, height, width));
}
