import { denoisingCase } from "./denoising.mjs";

/** Kandinsky 2.2's decoder, at the given size: two guided rows per denoising step, with random image embeddings. */
export const { description, model, modelName, rows, run } = denoisingCase({
  what: "an image by Kandinsky 2.2's decoder",
  pipeline: "KandinskyV22Pipeline",
  model: { source: "full-size-kandinsky22-decoder", name: "kandinsky-2-2-decoder" },
  modelName: "Kandinsky 2.2's decoder",
  given: { embeds: 1280 },
  args: ({ size }) => ({ guidanceScale: 4, height: size, width: size }),
});
