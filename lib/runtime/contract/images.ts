import type { NativeCancelToken } from "./system.js";
import type { NativeTensor } from "./tensor.js";

/** bindings/pictures.cc */
export interface ImagesAddon {
  resize(
    data: Uint8Array,
    width: number,
    height: number,
    channels: number,
    outWidth: number,
    outHeight: number,
    filter: string,
    /** Whether the image is first reduced by whole factors (Pillow's `reducing_gap=1`). */
    reducing: boolean,
  ): Promise<Uint8Array>;
  /** Canny's edges of RGB pixels: RGB again, white on edges, else black. */
  cannyEdges(
    rgb: Uint8Array,
    width: number,
    height: number,
    low: number,
    high: number,
    l2Gradient: boolean,
    cancel: NativeCancelToken | null,
  ): Promise<Uint8Array>;
  /** [B,C,H,W] resized by nearest neighbour. */
  resizeNearest(x: NativeTensor, height: number, width: number): Promise<NativeTensor>;
  pictureToTensor(rgb: Uint8Array, width: number, height: number): Promise<NativeTensor>;
  picturesToTensor(
    rgb: Uint8Array,
    count: number,
    height: number,
    width: number,
    flips: readonly number[],
  ): Promise<NativeTensor>;
  tensorToPictures(tensor: NativeTensor): Promise<Uint8Array[]>;
}
