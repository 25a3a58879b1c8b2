import type { AnyImageToImage, AnyInpainting, AnyTextToImage } from "../../pipelines/auto.js";
import { StableDiffusionControlNetPipeline } from "../../pipelines/controlnet/controlnet.js";
import { StableDiffusionControlNetImg2ImgPipeline } from "../../pipelines/controlnet/controlnet_img2img.js";
import { StableDiffusionXLControlNetPipeline } from "../../pipelines/controlnet/controlnet_sd_xl.js";
import { StableDiffusionXLControlNetImg2ImgPipeline } from "../../pipelines/controlnet/controlnet_sd_xl_img2img.js";
import type { LatentPipeline } from "../../pipelines/latent_pipeline.js";
import type { ImagesResult } from "../../pipelines/run-options.js";
import { StableDiffusionPipeline } from "../../pipelines/stable_diffusion/stable_diffusion.js";
import { StableDiffusionImg2ImgPipeline } from "../../pipelines/stable_diffusion/stable_diffusion_img2img.js";
import { StableDiffusionInpaintPipeline } from "../../pipelines/stable_diffusion/stable_diffusion_inpaint.js";
import { StableDiffusionXLPipeline } from "../../pipelines/stable_diffusion_xl/stable_diffusion_xl.js";
import { StableDiffusionXLImg2ImgPipeline } from "../../pipelines/stable_diffusion_xl/stable_diffusion_xl_img2img.js";
import { StableDiffusionXLInpaintPipeline } from "../../pipelines/stable_diffusion_xl/stable_diffusion_xl_inpaint.js";
import type { ModelFamily } from "../pictures/family.js";
import type { ModelConfigs, PictureModel } from "../pictures/job.js";
import { denoisingEndOf, xlRunOptions } from "../pictures/xl-options.js";
import type { GenerateValues } from "./options.js";

/** What the classes with ControlNets have in common; their options differ in where the control image is. */
export interface AnyControlled {
  // biome-ignore lint/suspicious/noExplicitAny: `image`, or `controlImage` beside it
  run(options: any): Promise<ImagesResult<"image" | "latent">>;
}

type ClassOf<P> = PictureModel<LatentPipeline & P>["pipelineClass"];

/** What differs between the families of models that `ip2p generate` runs. */
export interface Kind {
  readonly textToImage: ClassOf<AnyTextToImage>;
  readonly imageToImage: ClassOf<AnyImageToImage>;
  readonly inpainting: ClassOf<AnyInpainting>;
  readonly controlledTextToImage: ClassOf<AnyControlled>;
  readonly controlledImageToImage: ClassOf<AnyControlled>;
  /** Default strengths. */
  readonly strength: { readonly imageToImage: number; readonly inpainting: number };
  /** Layers that `--clip_skip` can leave out. */
  layers(configs: ModelConfigs): number;
  /** Further options of a run. */
  options(values: GenerateValues): object;
}

// The classes of both families run with the options that they share, and ignore none of those below.
const classes = <T>(given: Record<keyof Classes, unknown>) => given as T;
type Classes = Pick<
  Kind,
  "textToImage" | "imageToImage" | "inpainting" | "controlledTextToImage" | "controlledImageToImage"
>;

export const KINDS: Readonly<Record<ModelFamily, Kind>> = {
  sd: {
    ...classes<Classes>({
      textToImage: StableDiffusionPipeline,
      imageToImage: StableDiffusionImg2ImgPipeline,
      inpainting: StableDiffusionInpaintPipeline,
      controlledTextToImage: StableDiffusionControlNetPipeline,
      controlledImageToImage: StableDiffusionControlNetImg2ImgPipeline,
    }),
    strength: { imageToImage: 0.8, inpainting: 1 },
    layers: ({ textEncoder }) => textEncoder!.num_hidden_layers,
    options: () => ({}),
  },
  sdxl: {
    ...classes<Classes>({
      textToImage: StableDiffusionXLPipeline,
      imageToImage: StableDiffusionXLImg2ImgPipeline,
      inpainting: StableDiffusionXLInpaintPipeline,
      controlledTextToImage: StableDiffusionXLControlNetPipeline,
      controlledImageToImage: StableDiffusionXLControlNetImg2ImgPipeline,
    }),
    strength: { imageToImage: 0.3, inpainting: 0.9999 },
    // The last layer is always left out.
    layers: ({ textEncoder, textEncoder2 }) =>
      Math.min(...[textEncoder, textEncoder2].flatMap((each) => (each ? [each.num_hidden_layers] : []))) - 1,
    options: (values) => ({
      ...xlRunOptions(values),
      ...xlSizes(values),
      ...(values.image !== undefined && { guidanceRescale: values.guidanceRescale, ...scoresOf(values) }),
      denoisingEnd: denoisingEndOf(values),
    }),
  },
};

function xlSizes({ negativeOriginalSize, negativeCropsCoordsTopLeft, negativeTargetSize }: GenerateValues) {
  return { negativeOriginalSize, negativeCropsCoordsTopLeft, negativeTargetSize };
}

/** What refiners are told beside sizes. */
export function scoresOf({ aestheticScore, negativeAestheticScore }: GenerateValues) {
  return { aestheticScore, negativeAestheticScore };
}

/** The options of a refiner's run. */
export function refinerOptions(values: GenerateValues): object {
  const { guidanceRescale } = values;
  return { ...xlSizes(values), ...scoresOf(values), guidanceRescale };
}
