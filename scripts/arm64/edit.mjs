// Edits a picture with the built-in model and writes the result as numbers in 0..1:  node edit.mjs FILE
import { fileURLToPath, pathToFileURL } from "node:url";

const [file, folder] = process.argv.slice(2);
const { builtInModel, InstructPix2PixPipeline, saveSafetensors } = await import(
  new URL("dist/index.js", pathToFileURL(`${folder}/`))
);
const pipe = await InstructPix2PixPipeline.fromPretrained(builtInModel, { device: "cpu" });
const image = fileURLToPath(new URL("test/fixtures/built-in/picture.png", pathToFileURL(`${folder}/`)));
const options = {
  image,
  prompt: "change the background to peach",
  seed: 1,
  numInferenceSteps: 10,
  outputType: "tensor",
};
const { images } = await pipe.run(options);
await saveSafetensors(file, { images });
