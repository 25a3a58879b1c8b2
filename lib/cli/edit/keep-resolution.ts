import { type RgbImage, transferEdit } from "../../images/index.js";
import type { PictureJob } from "../pictures/job.js";
import type { EditValues } from "./options.js";

/** With `--keep_resolution` results get the image's own size, if they were computed at another one. */
export function keepResolution(
  { keepResolution: wanted }: Pick<EditValues, "keepResolution">,
  image: RgbImage,
): Pick<PictureJob, "finish"> {
  if (!wanted) return {};
  const atOwnSize = async (result: RgbImage) => {
    const same = result.width === image.width && result.height === image.height;
    return same ? result : await transferEdit(image, result);
  };
  return { finish: (images) => Promise.all(images.map(atOwnSize)) };
}
