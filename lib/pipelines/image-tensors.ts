import { InstructPix2PixError } from "../core/errors.js";
import { disposeAll, handleOf, Tensor } from "../core/tensor.js";
import { checkFloat } from "../core/tensor-checks.js";
import { type ImageSource, type LoadImageOptions, loadImage, type RgbImage } from "../images/index.js";
import { native } from "../runtime/native.js";
import { toPictures } from "./latents.js";

/**
 * The pixels of an image, or of several of one size, as a tensor.
 *
 * @param image whatever {@link loadImage} reads
 * @param options those of {@link loadImage}
 * @returns float32 [B,3,H,W] in 0..1, on the CPU; for the autoencoder multiply by 2 and subtract 1
 * @throws `ERR_INVALID_ARGUMENT` for images of several sizes, and as {@link loadImage}
 *
 * @example
 * ```js
 * import { imageToTensor, tensorToImage } from "instruct-pix2pix";
 *
 * const pixels = await imageToTensor("photo.jpg");
 * const darker = await pixels.mul(0.5);
 * await (await tensorToImage(darker)).save("darker.png");
 * ```
 */
export async function imageToTensor(
  image: ImageSource | readonly ImageSource[],
  options: LoadImageOptions = {},
): Promise<Tensor> {
  const sources = (Array.isArray(image) ? image : [image]) as readonly ImageSource[];
  if (sources.length === 0) throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "image is an empty list");
  const pictures: RgbImage[] = [];
  for (const source of sources) pictures.push(await loadImage(source, options));
  const sizes = [...new Set(pictures.map(({ width, height }) => `${width}×${height}`))];
  if (sizes.length > 1)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `a tensor holds images of one size, not of ${sizes.join(", ")}: resize them first`,
    );
  const rows: Tensor[] = [];
  try {
    for (const { data, width, height } of pictures)
      rows.push(new Tensor(await native().pictureToTensor(data, width, height)));
    return await Tensor.cat(rows, 0);
  } finally {
    disposeAll(...rows);
  }
}

/**
 * The images in a tensor of pixels, rounded to 8 bits.
 *
 * @param tensor [B,3,H,W] or [3,H,W] in 0..1; what lies outside is clamped
 * @returns B images
 * @throws `ERR_INVALID_ARGUMENT` for another shape, whole numbers, NaN or infinity
 *
 * @example
 * ```js
 * import { InstructPix2PixPipeline, tensorToImages } from "instruct-pix2pix";
 *
 * const pipe = await InstructPix2PixPipeline.fromPretrained("./model");
 * const { images } = await pipe.run({ image: "photo.jpg", prompt: "make it winter", outputType: "tensor" });
 * for (const image of await tensorToImages(images)) await image.save("winter.png");
 * pipe.dispose();
 * ```
 */
export async function tensorToImages(tensor: Tensor): Promise<RgbImage[]> {
  handleOf(tensor, "tensor");
  const { shape } = tensor;
  if ((shape.length !== 3 && shape.length !== 4) || shape.at(-3) !== 3 || shape.includes(0))
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", `tensor must be [B,3,H,W] or [3,H,W], not [${shape}]`);
  checkFloat("tensor", tensor.dtype);
  if (!(await tensor.isFinite()))
    throw new InstructPix2PixError("ERR_INVALID_ARGUMENT", "tensor holds NaN or infinity");
  using batch = await tensor.reshape(shape.length === 3 ? [1, ...shape] : shape);
  using float = await batch.to({ dtype: "float32" });
  using unit = await float.clamp(0, 1);
  return await toPictures(unit);
}

/**
 * The image in a tensor; see {@link tensorToImages}.
 *
 * @param tensor [3,H,W] or [1,3,H,W] in 0..1
 * @throws `ERR_INVALID_ARGUMENT` for a batch of several, and as {@link tensorToImages}
 *
 * @example
 * ```js
 * import { imageToTensor, tensorToImage } from "instruct-pix2pix";
 *
 * const pixels = await imageToTensor("photo.jpg"); // [1,3,H,W]
 * const darker = await tensorToImage(await pixels.mul(0.5));
 * await darker.save("darker.png");
 * ```
 */
export async function tensorToImage(tensor: Tensor): Promise<RgbImage> {
  handleOf(tensor, "tensor");
  const { shape } = tensor;
  if (shape.length === 4 && shape[0] !== 1)
    throw new InstructPix2PixError(
      "ERR_INVALID_ARGUMENT",
      `tensor [${shape}] holds ${shape[0]} images, not one: use tensorToImages`,
    );
  return (await tensorToImages(tensor))[0]!;
}
