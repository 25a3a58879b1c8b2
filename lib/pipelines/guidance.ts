import { native } from "../native/native.js";
import { Tensor } from "../tensor.js";

/**
 * Guidance by text and by image at once (Brooks et al. 2023, https://arxiv.org/abs/2211.09800, section 3.2.1):
 *
 *   e = e_none + s_text · (e_full − e_image) + s_image · (e_image − e_none)
 *
 * @param prediction [3B,C,h,w]: rows with text and image, then with the image only, then with neither
 * @returns [B,C,h,w]
 */
export async function guideByTextAndImage(
  prediction: Tensor,
  guidanceScale: number,
  imageGuidanceScale: number,
): Promise<Tensor> {
  const weights = [guidanceScale, imageGuidanceScale - guidanceScale, 1 - imageGuidanceScale];
  return new Tensor(await native().combineChunks(prediction.handle, weights));
}
