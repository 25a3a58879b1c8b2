import { readPngText, withPngText } from "./png-text.js";
import { readSettings, type Settings } from "./settings.js";

/** The keyword of the settings in PNG files. */
const KEYWORD = "instruct-pix2pix";

/** An image that was chosen. */
export interface Source {
  file: Blob;
  name: string;
  width: number;
  height: number;
  /** Those that made it, if the file tells them. */
  settings: Partial<Settings> | undefined;
}

/** @throws an error with a sentence for the user, for what is no image that the browser can read */
export async function readSource(file: Blob, name: string): Promise<Source> {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error(`${name} cannot be read as an image`);
  });
  const { width, height } = bitmap;
  bitmap.close();
  const text = readPngText(new Uint8Array(await file.arrayBuffer()), KEYWORD);
  return { file, name, width, height, settings: text === undefined ? undefined : readSettings(text) };
}

/** The image as it is sent: no larger than the model can use, so that photos of any camera can be edited. */
export async function fitImage({ file, width, height }: Source, longest: number): Promise<Blob> {
  const scale = longest / Math.max(width, height);
  if (scale >= 1) return file;
  const size = {
    resizeWidth: Math.max(1, Math.round(width * scale)),
    resizeHeight: Math.max(1, Math.round(height * scale)),
    resizeQuality: "high",
  } as const;
  const bitmap = await createImageBitmap(file, size);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d")!.drawImage(bitmap, 0, 0);
  bitmap.close();
  return await canvas.convertToBlob({ type: "image/png" });
}

/** A PNG file with the settings that made it. */
export async function withSettings(png: Blob, settings: Settings): Promise<Blob> {
  const bytes = withPngText(new Uint8Array(await png.arrayBuffer()), KEYWORD, JSON.stringify(settings));
  return new Blob([bytes as Uint8Array<ArrayBuffer>], { type: "image/png" });
}

export function download(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
