import { optionNames } from "../../core/known-options.js";
import { Scope } from "../../core/scope.js";
import { Tensor } from "../../core/tensor.js";
import type { RgbImage } from "../../images/index.js";
import { native } from "../../runtime/native.js";
import type { Scheduler } from "../../schedulers/scheduler.js";
import { checkSchedule, checkTensors, type ScheduleCall } from "../call.js";
import { checkUNetChannels, type UNetCheck } from "../compatibility.js";
import { stableDiffusion } from "../components.js";
import { denoise } from "../denoise.js";
import { checkGivenTensors, type FiniteChecks } from "../finite.js";
import { checkImages, type ImageInput, type PipelineImage } from "../image-input.js";
import { checkLatents, checkPairing, expandRows, finish, unitNoise } from "../latents.js";
import { prepareMask } from "../mask.js";
import { overlaid } from "../mask-crop.js";
import { checkFraction, refuseArgument, requireGiven } from "../options.js";
import { ownLatents, pictureLatents } from "../picture-latents.js";
import {
  type ImagesResult,
  type OutputType,
  PROMPT_OPTIONS,
  type PromptOptions,
  RUN_OPTIONS,
  type RunOptions,
  SAMPLING_OPTIONS,
  type SamplingOptions,
  SCHEDULE_OPTIONS,
  type ScheduleOptions,
} from "../run-options.js";
import { setPartialSchedule } from "../schedule.js";
import { checkSize } from "../size.js";
import { StableDiffusionBase, type StableDiffusionCall } from "./base.js";
import { checkPaddingMaskCrop, countMasks, type InpaintPictures, readPictures } from "./inpaint-pictures.js";
import { OUTDATED_INPAINTING } from "./outdated.js";
import { checkTextGuidance, TEXT_GUIDANCE_OPTIONS, type TextGuidanceOptions } from "./text-options.js";

/** @typeParam T the kind of result */
export interface InpaintOptions<T extends OutputType = "image">
  extends RunOptions<T>,
    PromptOptions,
    SamplingOptions,
    ScheduleOptions,
    Omit<TextGuidanceOptions, "guidanceRescale"> {
  /** The picture to paint in, several, or a tensor [B,3,H,W] in 0..1; resized to `height` and `width`. */
  image: PipelineImage;
  /**
   * White where the picture is painted anew, black where it stays: a picture, several, or a tensor [H,W], [B,H,W] or
   * [B,1,H,W] in 0..1; resized to `height` and `width`. Values from 0.5 on count as white. Alpha does not count.
   */
  maskImage: PipelineImage;
  /**
   * The picture without the masked part, for UNets that take it: scaled latents [B,C,h,w] instead of encoding them, or pixels
   * [B,3,H,W] in -1..1. Other UNets do without it.
   */
  maskedImageLatents?: Tensor | undefined;
  /**
   * Paints only the part of the picture around the mask, at `height` and `width`, and puts it back into the picture, which
   * keeps its size: the margin around the mask in pixels. For one picture with one mask of its size, and pictures as results.
   * Default: the whole picture is resized and painted.
   */
  paddingMaskCrop?: number | null | undefined;
  /** Pixels, a multiple of the autoencoder's factor. Default the UNet's `sample_size` times that, whatever the picture's. */
  height?: number | undefined;
  /** Likewise. */
  width?: number | undefined;
  /** How far the painted part may be from what was there, 0..1: the part of the steps that is taken. Default 1. */
  strength?: number | undefined;
  /** Denoising steps at strength 1, 1..num_train_timesteps. Default 50. */
  numInferenceSteps?: number | undefined;
}

const { guidanceRescale: _guidanceRescale, ...TEXT_GUIDANCE } = TEXT_GUIDANCE_OPTIONS;

const OPTIONS = optionNames<InpaintOptions<OutputType>>()({
  ...RUN_OPTIONS,
  ...PROMPT_OPTIONS,
  ...SAMPLING_OPTIONS,
  ...SCHEDULE_OPTIONS,
  ...TEXT_GUIDANCE,
  image: true,
  maskImage: true,
  maskedImageLatents: true,
  height: true,
  width: true,
  strength: true,
  paddingMaskCrop: true,
  numInferenceSteps: true,
});

type Call = StableDiffusionCall &
  ScheduleCall & {
    image: PipelineImage;
    maskImage: PipelineImage;
    maskedImageLatents: Tensor | undefined;
    paddingMaskCrop: number | undefined;
    size: { height: number; width: number };
    strength: number;
    /** Whether the UNet takes the mask and the masked picture, as inpainting models do. */
    takesMask: boolean;
  };

/** What a run starts from. */
interface Start {
  latents: Tensor;
  noise: Tensor;
  /** [B·n,1,h,w] */
  mask: Tensor;
  /** The picture's latents; undefined for UNets that take the mask, at strength 1. */
  known: Tensor | undefined;
  /** Mask and masked picture, for UNets that take them. */
  channels: Tensor | undefined;
}

/** UNets of inpainting models take mask and masked picture behind the latents, those of text-to-image models nothing. */
const checkUNet: UNetCheck = (unet, vae, index) => checkUNetChannels(unet, vae, [vae.latent_channels + 1, 0], index);

/**
 * Paints the masked part of pictures anew, numerically equal to diffusers' class of this name: with inpainting models, whose
 * UNet takes the mask and the masked picture (Rombach et al. 2022, section 4.5), and with text-to-image models, where the
 * part that stays is put back after each step (Lugmayr et al. 2022, https://arxiv.org/abs/2201.09865, without resampling).
 */
export class StableDiffusionInpaintPipeline extends StableDiffusionBase {
  /** @internal */
  static readonly description = stableDiffusion("StableDiffusionInpaintPipeline", checkUNet);
  protected readonly runOptions = OPTIONS;
  /** @internal */
  static override readonly outdated = OUTDATED_INPAINTING;

  /**
   * Paints.
   *
   * @throws as `InstructPix2PixPipeline.run`
   */
  // Without this overload `outputType: undefined` would be of any type: no T is inferred from it.
  async run(options: InpaintOptions): Promise<ImagesResult>;
  async run<T extends OutputType>(options: InpaintOptions<T>): Promise<ImagesResult<T>>;
  async run<T extends OutputType>(options: InpaintOptions<T>): Promise<ImagesResult<T>> {
    return await this.running(
      options,
      (device) => this.#check(options, device),
      async (call) => {
        using scope = new Scope();
        const { scheduler, finite } = await this.begin(call, scope);
        await checkGivenTensors({ maskedImageLatents: call.maskedImageLatents }, call.allowNonFinite);
        const timesteps = setPartialSchedule(scheduler, call, call.strength, { whole: true });
        const pictures = await readPictures(call);
        const text = scope.add(await this.encodeText(call, finite));
        const { latents, channels, ...kept } = await this.#start(call, pictures, scheduler, timesteps, finite, scope);
        const steps = scope.add(await this.guide(call, { text, timesteps, channels }));
        const afterStep = call.takesMask
          ? undefined
          : (painted: Tensor, step: number) => putBack(painted, kept, scheduler, timesteps[step + 1]);
        const denoised = await denoise({ ...call, ...steps.hooks, scheduler, timesteps, latents, finite, afterStep });
        const result = await finish<T>(denoised, { ...call, finite });
        const { overlay } = pictures;
        if (!overlay) return result;
        const images = await Promise.all((result.images as RgbImage[]).map((painted) => overlaid(painted, overlay)));
        return { ...result, images: images as ImagesResult<T>["images"] };
      },
    );
  }

  #check(options: InpaintOptions<OutputType>, device: string): Call {
    const { unet, vae, textEncoder } = this;
    const { image, maskImage, maskedImageLatents } = options;
    requireGiven("image", image);
    requireGiven("maskImage", maskImage);
    checkTensors({ maskedImageLatents });
    const strength = checkFraction("strength", options.strength ?? 1);
    const call = this.checkCommon(options, device, checkTextGuidance(options, textEncoder.config.num_hidden_layers));
    checkUNet(unet.config, vae.config);
    const takesMask = unet.config.in_channels !== vae.config.latent_channels;
    const paddingMaskCrop = checkPaddingMaskCrop(options.paddingMaskCrop, { image, maskImage }, call.outputType);
    const size = checkSize(options, { unet, vae, multiple: vae.scaleFactor });
    const schedule = checkSchedule(options, options.numInferenceSteps ?? 50);
    const given = { image, maskImage, maskedImageLatents, paddingMaskCrop, size, strength, takesMask };
    const checked = { ...call, ...schedule, guidanceRescale: 0, ...given };
    checkShapes(checked);
    return checked;
  }

  /** The draws are in diffusers' order: picture, noise, masked picture. Everything that is returned is in the scope but the latents. */
  async #start(
    call: Call,
    pictures: InpaintPictures,
    scheduler: Scheduler,
    timesteps: readonly number[],
    finite: FiniteChecks,
    scope: Scope,
  ): Promise<Start> {
    const { size, takesMask, strength, vae, allowNonFinite } = call;
    const shape = latentShape(call);
    const [, , h, w] = shape;
    const { image } = scope.add(await this.prepareImage(pictures.image, call, size));
    const pixelMask = scope.add(await prepareMask(pictures.masks, { factor: vae.scaleFactor, size, allowNonFinite }));
    const needsPicture = !takesMask || (!call.latents && strength < 1);
    const known = needsPicture ? scope.add(await imageLatents(call, image, finite)) : undefined;
    const noise = scope.add(await unitNoise(shape, { ...call, given: call.latents }));
    const masked = await this.#maskedLatents(call, image, pixelMask, finite, scope);
    const latents =
      strength === 1 || call.latents
        ? await Tensor.linearCombination([[scheduler.initNoiseSigma, noise]])
        : await scheduler.addNoise(known!, noise, timesteps.slice(0, 1));
    const small = scope.add(new Tensor(await native().resizeNearest(pixelMask.handle, h, w)));
    const placed = scope.add(await small.to({ device: call.device, dtype: call.dtype }));
    const mask = scope.add(await expandRows(placed, call));
    const channels = takesMask && masked ? scope.add(await Tensor.cat([mask, masked], 1)) : undefined;
    return { latents, noise, mask, known, channels };
  }

  /** [B·n,C,h,w]: the picture's latents without the part that is painted anew. Drawn for all UNets, as in diffusers. */
  async #maskedLatents(
    call: Call,
    image: ImageInput,
    mask: Tensor,
    finite: FiniteChecks,
    scope: Scope,
  ): Promise<Tensor | undefined> {
    const { maskedImageLatents: given, device, dtype } = call;
    const encode = async (pixels: Tensor) => scope.add(await imageLatents(call, { pixels }, finite));
    if (given && given.shape[1] !== call.vae.config.latent_channels)
      return await encode(scope.add(await given.to({ dtype: "float32" })));
    if (given) return scope.add(await expandRows(scope.add(await given.to({ device, dtype })), call));
    // Without pixels there is nothing to mask; UNets that need it are refused before.
    if ("latents" in image) return undefined;
    const stays = scope.add(await Tensor.linearCombination([[-1, mask]]));
    const factor = scope.add(await stays.add(1));
    return await encode(scope.add(await image.pixels.mul(factor)));
  }
}

/** [B·n,C,h,w] */
function latentShape({ count, vae, size }: Call): [number, number, number, number] {
  const edge = (pixels: number) => Math.floor(pixels / vae.scaleFactor);
  return [count, vae.config.latent_channels, edge(size.height), edge(size.width)];
}

/** Checks that the pictures, masks and tensors of a call fit together, as far as it shows before they are read. */
function checkShapes(call: Call): void {
  const { image, maskImage, maskedImageLatents: masked, size } = call;
  const shape = latentShape(call);
  const [, C, h, w] = shape;
  const images = checkImages(image, { latentChannels: C });
  checkPairing("pictures", images.count, call);
  checkPairing("masks", countMasks(maskImage), call);
  checkLatents(call.latents, shape);
  if (images.latents && images.latents.join() !== [h, w].join())
    refuseArgument("image", `latents of ${images.latents.join("×")}`, `pixels, or latents of ${h}×${w}`);
  if (images.latents && call.takesMask && !masked)
    refuseArgument("image", "latents", "pixels, or maskedImageLatents must be given with it");
  if (!masked) return;
  const [rows, ...rest] = masked.shape;
  const known = [[C, h, w].join(), [3, size.height, size.width].join()];
  if (masked.shape.length !== 4 || !known.includes(rest.join()))
    refuseArgument("maskedImageLatents", `[${masked.shape}]`, `latents [B,${known[0]}] or pixels [B,${known[1]}]`);
  checkPairing("masked pictures", rows!, call);
}

/** [B·n,C,h,w]: pictures' latents, drawn for each picture and then repeated, also where each result has its own generator. */
async function imageLatents(call: Call, image: ImageInput, finite: FiniteChecks): Promise<Tensor> {
  const encoding = { draws: true, scaled: true };
  if ("latents" in image) return await pictureLatents(call, image, encoding, finite);
  using own = await ownLatents(call, image.pixels, encoding, finite);
  return await expandRows(own, call);
}

/** Puts the part that stays back into the latents, with the noise of the next timestep; without noise at the end. */
async function putBack(
  painted: Tensor,
  { known, noise, mask }: Pick<Start, "known" | "noise" | "mask">,
  scheduler: Scheduler,
  next: number | undefined,
): Promise<Tensor> {
  using scope = new Scope();
  const proper = next === undefined ? known! : scope.add(await scheduler.addNoise(known!, noise, [next]));
  const inverse = scope.add(await scope.add(await mask.mul(-1)).add(1));
  const stays = scope.add(await proper.mul(inverse));
  const anew = scope.add(await painted.mul(mask));
  return await stays.add(anew);
}
