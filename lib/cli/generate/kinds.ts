import type { AnyImageToImage, AnyInpainting, AnyTextToImage } from "../../pipelines/auto.js";
import type { LatentPipeline } from "../../pipelines/latent_pipeline.js";
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

type ClassOf<P> = PictureModel<LatentPipeline & P>["pipelineClass"];

/** What differs between the families of models that `ip2p generate` runs. */
export interface Kind {
  readonly textToImage: ClassOf<AnyTextToImage>;
  readonly imageToImage: ClassOf<AnyImageToImage>;
  readonly inpainting: ClassOf<AnyInpainting>;
  /** Default strengths. */
  readonly strength: { readonly imageToImage: number; readonly inpainting: number };
  /** Layers that `--clip_skip` can leave out. */
  layers(configs: ModelConfigs): number;
  /** Further options of a run. */
  options(values: GenerateValues): object;
}

// The classes of both families run with the options that they share, and ignore none of those below.
const classes = <T>(given: Record<"textToImage" | "imageToImage" | "inpainting", unknown>) => given as T;
type Classes = Pick<Kind, "textToImage" | "imageToImage" | "inpainting">;

export const KINDS: Readonly<Record<ModelFamily, Kind>> = {
  sd: {
    ...classes<Classes>({
      textToImage: StableDiffusionPipeline,
      imageToImage: StableDiffusionImg2ImgPipeline,
      inpainting: StableDiffusionInpaintPipeline,
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
