import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { loadImage } from "../../lib/index.js";
import { tinyImage } from "../runtime/tiny.js";

const bytes = readFileSync(tinyImage);

it("a Blob and a File of a form are images", async () => {
  const image = await loadImage(bytes);
  const blob = new Blob([bytes], { type: "image/png" });
  const form = new FormData();
  form.append("picture", blob, "photo.png");
  for (const source of [blob, form.get("picture") as File, blob.slice()])
    expect((await loadImage(source)).equals(image)).toBe(true);
});

it("a Blob is measured before it is read, and its failure is typed", async () => {
  let read = false;
  const arrayBuffer = async () => {
    read = true;
    return new ArrayBuffer(0);
  };
  const large = { size: 1001, type: "", arrayBuffer } as unknown as Blob;
  await expect(loadImage(large, { maxBytes: 1000 })).rejects.toMatchObject({
    code: "ERR_IMAGE",
    message: "the image has 1001 bytes, more than the limit of 1000 (maxBytes)",
  });
  expect(read).toBe(false);
  const broken = { size: 1, type: "", arrayBuffer: () => Promise.reject(new Error("gone")) } as unknown as Blob;
  await expect(loadImage(broken)).rejects.toMatchObject({ code: "ERR_IMAGE" });
  await expect(loadImage(new Blob(["no image"]))).rejects.toMatchObject({ code: "ERR_IMAGE" });
  const signal = AbortSignal.abort();
  await expect(loadImage(new Blob([bytes]), { signal })).rejects.toMatchObject({ code: "ERR_ABORTED" });
});

it('encodes "jpg" and "tif" as file names have them', async () => {
  const image = await loadImage(bytes);
  expect((await image.encode("jpg")).equals(await image.encode("jpeg"))).toBe(true);
  expect((await image.encode("tif")).equals(await image.encode("tiff"))).toBe(true);
  await expect(image.encode("toString" as never)).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
});
