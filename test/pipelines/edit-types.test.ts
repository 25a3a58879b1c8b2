import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
// The declarations that a user gets.
const entry = JSON.stringify(join(root, "dist", "index.js"));

const PROGRAM = `
import type { EditOptions, EditResult, InstructPix2PixPipeline, OutputType, RgbImage, Tensor } from ${entry};
declare const pipe: InstructPix2PixPipeline;
declare const options: EditOptions;
declare const any: EditOptions<OutputType>;
declare const maybe: string | undefined;
export const inline: RgbImage = (await pipe.run({ image: "a.png", prompt: "x" })).images[0]!;
export const kept: RgbImage = (await pipe.run(options)).images[0]!;
export const spread: RgbImage = (await pipe.run({ ...options, prompt: "x" })).images[0]!;
const inferred = { image: "a.png", prompt: "x" };
export const variable: RgbImage[] = (await pipe.run(inferred)).images;
export const given: RgbImage[] = (await pipe.run({ image: "a.png", negativePrompt: maybe, outputType: "image" })).images;
export const left: RgbImage = (await pipe.run({ image: "a.png", prompt: "x", outputType: undefined })).images[0]!;
export const leftOut: RgbImage = (await pipe.run({ ...options, outputType: undefined })).images[0]!;
export const named: Tensor = (await pipe.run<"tensor">({ ...options, outputType: "tensor" })).images;
export const bound: (options: EditOptions) => Promise<EditResult> = pipe.run.bind(pipe);
export const tensor: Tensor = (await pipe.run({ ...options, outputType: "tensor" })).images;
export const latent: Tensor = (await pipe.run({ image: "a.png", prompt: "x", outputType: "latent" })).images;
export const either: RgbImage[] | Tensor = (await pipe.run(any)).images;
export const wrapped = (mine: EditOptions): Promise<EditResult> => pipe.run({ ...mine, numInferenceSteps: 20 });
export const generic = <T extends OutputType = "image">(mine: EditOptions<T>): Promise<EditResult<T>> =>
  pipe.run({ ...mine, numInferenceSteps: 20 });
export const one: RgbImage = (await generic({ image: "a.png", prompt: "x" })).images[0]!;
export const other: Tensor = (await generic({ image: "a.png", prompt: "x", outputType: "tensor" })).images;
await pipe.run({ ...options, onStep: () => {} });
await pipe.run({ ...options, onStep: async () => {} });
await pipe.run({ ...options, onStep: async ({ latents }) => ({ latents: await latents.mul(2) }) });
// @ts-expect-error a tensor is no list of pictures
export const wrong: RgbImage[] = (await pipe.run({ ...options, outputType: "tensor" })).images;
// @ts-expect-error it replaces latents only
await pipe.run({ ...options, onStep: () => ({ latents: 1 }) });
`;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ip2p-types-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each([
  ["node16", true],
  ["bundler", false],
])(
  "the result of run follows from its options, with moduleResolution %s, exactOptionalPropertyTypes %s",
  (way, exact) => {
    const path = join(folder, "program.mts");
    writeFileSync(path, PROGRAM);
    const bundler = way === "bundler";
    const options: ts.CompilerOptions = {
      ...{ strict: true, noEmit: true, skipLibCheck: true, exactOptionalPropertyTypes: exact },
      module: bundler ? ts.ModuleKind.ESNext : ts.ModuleKind.Node16,
      moduleResolution: bundler ? ts.ModuleResolutionKind.Bundler : ts.ModuleResolutionKind.Node16,
      ...{ target: ts.ScriptTarget.ES2022, lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts"] },
      ...{ types: ["node"], typeRoots: [join(root, "node_modules", "@types")] },
    };
    const program = ts.createProgram([path], options);
    const source = program.getSourceFile(path)!;
    const problems = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
    expect(problems.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, " "))).toEqual([]);
  },
  120_000,
);
