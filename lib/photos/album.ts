import type { RgbImage } from "../images/index.js";
import { reduced } from "./crop.js";
import { loadPhoto, type PhotoSource } from "./sources.js";

/** Bytes of pixels that are kept decoded. */
const KEPT_BYTES = 400e6;

interface Kept {
  readonly image: Promise<RgbImage>;
  /** 0 until it is decoded. */
  bytes: number;
}

/** Photographs of which crops are made; those used last stay decoded. */
export class Album {
  readonly photos: readonly PhotoSource[];
  readonly resolution: number;
  readonly #folder: string;
  readonly #signal: AbortSignal | undefined;
  /** Least recently used first. */
  readonly #kept = new Map<string, Kept>();
  #bytes = 0;

  /** @param resolution of the crops */
  constructor(folder: string, photos: readonly PhotoSource[], resolution: number, signal?: AbortSignal) {
    this.#folder = folder;
    this.photos = photos;
    this.resolution = resolution;
    this.#signal = signal;
  }

  /** A photograph, scaled down as far as its crops allow. */
  load(photo: PhotoSource): Promise<RgbImage> {
    const { name } = photo;
    const kept = this.#kept.get(name) ?? this.#open(photo);
    this.#kept.delete(name);
    this.#kept.set(name, kept);
    return kept.image;
  }

  #open(photo: PhotoSource): Kept {
    const kept: Kept = { image: this.#read(photo), bytes: 0 };
    kept.image.then(
      ({ data }) => {
        kept.bytes = data.length;
        this.#bytes += data.length;
        this.#trim(photo.name);
      },
      () => this.#kept.delete(photo.name),
    );
    return kept;
  }

  async #read(photo: PhotoSource): Promise<RgbImage> {
    return reduced(await loadPhoto(this.#folder, photo, this.#signal), this.resolution);
  }

  /** Forgets what was used longest ago; what is still being decoded has no bytes yet and stays. */
  #trim(except: string): void {
    for (const [name, { bytes }] of this.#kept) {
      if (this.#bytes <= KEPT_BYTES) return;
      if (name === except || bytes === 0) continue;
      this.#kept.delete(name);
      this.#bytes -= bytes;
    }
  }
}
