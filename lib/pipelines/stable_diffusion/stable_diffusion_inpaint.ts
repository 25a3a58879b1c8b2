import { describe } from "../../core/arguments.js";
import { optionNames } from "../../core/known-options.js";
import { Scope } from "../../core/scope.js";
import { Tensor } from "../../core/tensor.js";
import type { ImageSource, RgbImage } from "../../images/index.js";
import { native } from "../../runtime/native.js";
import type { Scheduler } from "../../schedulers/scheduler.js";
import { checkSchedule, checkTensors, type ScheduleCall } from "../call.js";
import { checkUNetChannels, type UNetCheck } from "../compatibility.js";
import { stableDiffusion } from "../components.js";
import { denoise } from "../denoise.js";
import { checkGivenTensors, type FiniteChecks } from "../finite.js";
import type { ImageInput, PipelineImage } from "../image-input.js";
import { expandRows, finish, unitNoise } from "../latents.js";
import { prepareMask } from "../mask.js";
import { type CutOut, cutOutMasked, putIntoPicture } from "../mask-crop.js";
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
   * White where the picture is painted anew, black where it stays: a picture, several, or a tensor [B,H,W] or [B,1,H,W] in
   * 0..1; resized to `height` and `width`. Values from 0.5 on count as white.
   */
  maskImage: PipelineImage;
  /** Latents [B,C,h,w] of the picture without the masked part, scaled, instead of encoding them. For 9-channel UNets. */
  maskedImageLatents?: Tensor | undefined;
  /** Pixels, a multiple of 8. Default the UNet's `sample_size` times the autoencoder's factor, whatever the picture's. */
  height?: number | undefined;
  /** Likewise. */
  width?: number | undefined;
  /** How far the painted part may be from what was there, 0..1: the part of the steps that is taken. Default 1. */
  strength?: number | undefined;
  /**
   * Computes only the masked part, with this margin in pixels around it, enlarged to `height` and `width`, and puts it back
   * into the picture. For one picture and a mask of its size, and `outputType` "image". Default: everything is computed.
   */
  paddingMaskCrop?: number | null | undefined;
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
    size: { height: number; width: number };
    strength: number;
    paddingMaskCrop: number | undefined;
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
      async (whole) => {
        using scope = new Scope();
        const cutOut = await cut(whole);
        const call = { ...whole, ...cutOut?.part };
        const { scheduler, finite } = await this.begin(call, scope);
        await checkGivenTensors({ maskedImageLatents: call.maskedImageLatents }, call.allowNonFinite);
        const timesteps = setPartialSchedule(scheduler, call, call.strength);
        const text = scope.add(await this.encodeText(call, finite));
        const { latents, channels, ...kept } = await this.#start(call, scheduler, timesteps, finite, scope);
        const steps = scope.add(await this.guide(call, text, timesteps, channels ? { channels } : {}));
        const afterStep = call.takesMask
          ? undefined
          : (painted: Tensor, step: number) => putBack(painted, kept, scheduler, timesteps[step + 1]);
        const denoised = await denoise({ ...call, ...steps.hooks, scheduler, timesteps, latents, finite, afterStep });
        const result = await finish<T>(denoised, { ...call, finite });
        if (!cutOut) return result;
        const images = await Promise.all((result.images as RgbImage[]).map((each) => putIntoPicture(each, cutOut)));
        return { ...result, images } as ImagesResult<T>;
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
    if (maskedImageLatents && !takesMask)
      refuseArgument("maskedImageLatents", "given", "left out: this UNet takes no masked picture");
    const size = checkSize(options, { unet, vae, multiple: 8 });
    const schedule = checkSchedule(options, options.numInferenceSteps ?? 50);
    const paddingMaskCrop = checkPadding(options);
    const given = { image, maskImage, maskedImageLatents, size, strength, takesMask, paddingMaskCrop };
    return { ...call, ...schedule, guidanceRescale: 0, ...given };
  }

  /** The draws are in diffusers' order: picture, noise, masked picture. Everything that is returned is in the scope but the latents. */
  async #start(
    call: Call,
    scheduler: Scheduler,
    timesteps: readonly number[],
    finite: FiniteChecks,
    scope: Scope,
  ): Promise<Start> {
    const { size, takesMask, strength, vae, allowNonFinite, signal } = call;
    const factor = vae.scaleFactor;
    const [h, w] = [Math.floor(size.height / factor), Math.floor(size.width / factor)];
    const { image } = scope.add(await this.prepareImage(call.image, call, size));
    const options = { factor, size, allowNonFinite, ...(signal && { signal }) };
    const pixelMask = scope.add(await prepareMask(call.maskImage, options));
    const encoding = { draws: true, scaled: true };
    const needsPicture = !takesMask || (!call.latents && strength < 1);
    const known = needsPicture ? scope.add(await pictureLatents(call, image, encoding, finite)) : undefined;
    const shape = [call.count, vae.config.latent_channels, h, w];
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
    if (given) return scope.add(await expandRows(scope.add(await given.to({ device, dtype })), call));
    if ("latents" in image) {
      if (call.takesMask)
        refuseArgument(
          "image",
          `latents [${image.latents.shape}]`,
          "pixels, or maskedImageLatents must be given with it",
        );
      return undefined;
    }
    const stays = scope.add(await Tensor.linearCombination([[-1, mask]]));
    const factor = scope.add(await stays.add(1));
    const masked = scope.add(await image.pixels.mul(factor));
    const latents = scope.add(await ownLatents(call, masked, { draws: true, scaled: true }, finite));
    return scope.add(await expandRows(latents, call));
  }
}

/** The margin of a part to cut out, if one is asked for. */
function checkPadding(options: InpaintOptions<OutputType>): number | undefined {
  const { paddingMaskCrop: padding, outputType = "image" } = options;
  if (padding === undefined || padding === null) return undefined;
  if (!Number.isSafeInteger(padding) || padding < 0) refuseArgument("paddingMaskCrop", padding, "a number of pixels");
  for (const name of ["image", "maskImage"] as const)
    if (Array.isArray(options[name]) || options[name] instanceof Tensor)
      refuseArgument(name, describe(options[name]), "one picture if paddingMaskCrop is given");
  if (outputType !== "image") refuseArgument("outputType", outputType, '"image" if paddingMaskCrop is given');
  return padding;
}

/** The part to compute; undefined for everything. */
async function cut({
  image,
  maskImage,
  paddingMaskCrop: padding,
  size,
  vae,
  signal,
}: Call): Promise<CutOut | undefined> {
  if (padding === undefined) return undefined;
  const given = { image: image as ImageSource, maskImage: maskImage as ImageSource };
  return await cutOutMasked(given, { target: size, factor: vae.scaleFactor, padding, ...(signal && { signal }) });
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
