import { textGuidanceRows } from "../../conditioning/guidance.js";
import { optionNames } from "../../core/known-options.js";
import type { GuidanceCall } from "../latent_pipeline.js";
import { checkFinite, checkFraction, refuseArgument } from "../options.js";

/** Options of Stable Diffusion pipelines that are guided by text alone. */
export interface TextGuidanceOptions {
  /** How strongly the prompt is followed. Guidance is on above 1. Default 7.5; 5 for SDXL. */
  guidanceScale?: number | undefined;
  /**
   * φ, 0..1: the share of the guided prediction that is scaled to the deviation of the prompt's, against overexposed
   * images (Lin et al. 2023, https://arxiv.org/abs/2305.08891). Default 0.
   */
  guidanceRescale?: number | undefined;
  /**
   * Last layers of the text encoder that are left out for the prompt, not for the negative prompt. Default 0; SDXL always
   * leaves out the last one, and these beside it.
   */
  clipSkip?: number | null | undefined;
}

/** The names of {@link TextGuidanceOptions}. */
export const TEXT_GUIDANCE_OPTIONS = optionNames<TextGuidanceOptions>()({
  guidanceScale: true,
  guidanceRescale: true,
  clipSkip: true,
});

/** Diffusers' rows of guidance: negative prompt, prompt. */
const LAYOUT = [
  { text: false, image: true },
  { text: true, image: true },
];

/**
 * Validates them.
 *
 * @param layers that can be left out
 * @param defaultScale of `guidanceScale`
 */
export function checkTextGuidance(
  options: TextGuidanceOptions,
  layers: number,
  defaultScale = 7.5,
): Required<Omit<GuidanceCall, "guidanceEmbedding">> & { clipSkip: number } {
  const scale = checkFinite("guidanceScale", options.guidanceScale ?? defaultScale);
  const rows = textGuidanceRows(scale);
  const guided = rows.length > 1;
  const clipSkip = options.clipSkip ?? 0;
  if (!Number.isInteger(clipSkip) || clipSkip < 0 || clipSkip > layers)
    refuseArgument("clipSkip", clipSkip, `a whole number in 0..${layers}, of the text encoder's layers`);
  return {
    rows,
    guidanceScale: scale,
    layout: guided ? LAYOUT : LAYOUT.slice(1),
    milderGuidance: guided ? `a guidanceScale below ${scale}` : undefined,
    guidanceRescale: checkFraction("guidanceRescale", options.guidanceRescale ?? 0),
    clipSkip,
  };
}
