import { fileURLToPath } from "node:url";

/**
 * The folder of the small model included in this package, for `fromPretrained`: it edits 64×64 images of simple
 * shapes (as drawn by `ip2p make-dataset --world`), loads in a moment and needs no network. For experiments, tests and
 * servers' health checks; it cannot edit photos.
 *
 * @example
 * ```js
 * import { builtInModel, InstructPix2PixPipeline } from "instruct-pix2pix";
 *
 * const pipe = await InstructPix2PixPipeline.fromPretrained(builtInModel);
 * console.log(pipe.unet.config.in_channels);
 * pipe.dispose();
 * ```
 */
export const builtInModel: string = fileURLToPath(new URL("../../models/tiny", import.meta.url));
