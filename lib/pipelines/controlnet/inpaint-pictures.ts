import { InstructPix2PixError } from "../../core/errors.js";
import { Tensor } from "../../core/tensor.js";
import { type Box, crop, fitWithin } from "../../images/fit.js";
import { type ImageSource, loadImage, RgbImage } from "../../images/index.js";
import { sizeForFactor } from "../../images/resize.js";
import { checkImages, type PartialSize, type PipelineImage, partsOf } from "../image-input.js";
import { checkInpaintShapes, type InpaintCall } from "../inpainting/call.js";
import { type InpaintPictures, readPictures } from "../inpainting/pictures.js";
import { type MaskPart, maskShape } from "../mask.js";
import { refuseArgument } from "../options.js";
import type { ControlCall } from "./options.js";
import { type ReadyControls, readControls, withSizeOf } from "./pictures.js";

type Unsized = Omit<InpaintCall, "size">;
type Size = InpaintCall["size"];

/** What is painted in, led by what. */
export interface ControlledPictures extends Disposable {
  pictures: InpaintPictures;
  controls: ReadyControls;
  size: Size;
}

/**
 * Reads images, masks and control images, which must have one size, or are resized to the one that is given.
 *
 * @throws `ERR_INVALID_ARGUMENT` naming what differs in size
 */
export async function controlledPictures(
  call: Unsized,
  control: ControlCall,
  given: PartialSize,
): Promise<ControlledPictures> {
  const { vae } = call;
  if (checkImages(call.image, { latentChannels: vae.config.latent_channels }).latents)
    refuseArgument("image", "latents", "pixels");
  if (call.paddingMaskCrop !== undefined) return await cutOut(call, control, given);
  const controls = await readControls(control, call, given);
  try {
    const { size } = controls;
    const image = await withSizeOf(controls, call.image, call, given);
    checkInpaintShapes({ ...call, image, size });
    const pictures = await readPictures({ ...call, image, size });
    for (const mask of pictures.masks) checkMask(mask, size, given, vae.scaleFactor);
    return { pictures, controls, size, [Symbol.dispose]: () => controls[Symbol.dispose]() };
  } catch (error) {
    controls[Symbol.dispose]();
    throw error;
  }
}

/** The part around the mask: of the image, and the same of the control images. */
async function cutOut(call: Unsized, control: ControlCall, given: PartialSize): Promise<ControlledPictures> {
  const { signal } = call;
  const read = await loadImage(partsOf("image", call.image)[0] as ImageSource, { ...(signal && { signal }) });
  const own = { height: given.height ?? read.height, width: given.width ?? read.width };
  const size = sizeForFactor(own, call.vae.scaleFactor);
  checkInpaintShapes({ ...call, size });
  const pictures = await readPictures({ ...call, size });
  const nets: ControlCall["nets"][number][] = [];
  for (const net of control.nets)
    nets.push({ ...net, image: await partOfControl(control.name, net.image, pictures.overlay!.region, size, call) });
  const controls = await readControls({ ...control, nets }, call, size);
  return { pictures, controls, size, [Symbol.dispose]: () => controls[Symbol.dispose]() };
}

async function partOfControl(
  name: string,
  image: PipelineImage,
  region: Box,
  size: Size,
  { signal }: Unsized,
): Promise<PipelineImage> {
  const parts: RgbImage[] = [];
  for (const part of partsOf(name, image)) {
    if (part instanceof Tensor) refuseArgument(name, "a tensor", "images with paddingMaskCrop");
    const { width, height, data } = await loadImage(part, { ...(signal && { signal }) });
    const fitted = await fitWithin(crop({ width, height, data, form: "colour" }, region), size.width, size.height);
    parts.push(new RgbImage(size.width, size.height, fitted.data));
  }
  return parts;
}

/** Refuses a mask of another size than the image's, where none is given. */
function checkMask(mask: MaskPart, size: Size, given: PartialSize, factor: number): void {
  const [height, width] = mask instanceof Tensor ? maskShape(mask).slice(2) : [mask.height, mask.width];
  const own = sizeForFactor({ height: given.height ?? height!, width: given.width ?? width! }, factor);
  if (own.height === size.height && own.width === size.width) return;
  throw new InstructPix2PixError(
    "ERR_INVALID_ARGUMENT",
    `maskImage makes ${own.width}×${own.height} pixels and image ${size.width}×${size.height}: give images of one size, or height and width`,
  );
}
