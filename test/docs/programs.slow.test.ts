import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { trainOptions } from "../../lib/training/options.js";
import { tinyImage } from "../cli/run-cli.js";
import { installExample } from "../examples/server-process.mjs";
import { blocks, root } from "./pages.js";
import { expectToRun, isReference, isServer, programs, SMALLER, write } from "./programs.js";
import { useDocsWorld } from "./workplace.js";

/** Programs to copy; test/examples runs them. */
const EXAMPLES = [
  ...["server/server.js", "script/edit.js", "batch/edit-folder.js", "train/train.js"],
  ...["express/server.js", "fastify/server.js"],
];

const world = useDocsWorld();

describe("every program in the documentation", () => {
  it("is checked against the types, and the examples too", () => {
    using place = world.place();
    const files = programs.map(([, { code }], i) => {
      const path = place.at(`program-${i}.mjs`);
      // A separate module, with any imports.
      writeFileSync(path, `${code}\nexport {};\n`);
      return path;
    });
    const examples = EXAMPLES.map((path) => {
      const [name, file] = path.split("/") as [string, string];
      installExample(place.at(name), name);
      return place.at(name, file);
    });
    const options: ts.CompilerOptions = {
      ...{ allowJs: true, checkJs: true, noEmit: true, strict: true, skipLibCheck: true },
      ...{ module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext },
      ...{ target: ts.ScriptTarget.ES2022, lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts"] },
      ...{ types: ["node"], typeRoots: [join(root, "node_modules", "@types")] },
    };
    const program = ts.createProgram([...files, ...examples], options);
    const problems = ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
      const line = file && start !== undefined ? file.getLineAndCharacterOfPosition(start).line + 1 : 0;
      const text = ts.flattenDiagnosticMessageText(messageText, " ");
      const index = files.indexOf(file?.fileName ?? "");
      return `${programs[index]?.[0] ?? file?.fileName}, line ${line}: ${text}`;
    });
    expect(problems).toEqual([]);
  });

  it("runs", async () => {
    const running = programs.map(([, block]) => block).filter((block) => !isServer(block) && !isReference(block));
    await expectToRun(running, world);
  }, 600_000);

  it.each(programs.filter(([, block]) => isServer(block)))("%s serves", async (_, block) => {
    using place = world.place();
    const port = await freePort();
    const env = { ...process.env, ...world.env, PORT: String(port) };
    const child = spawn(process.execPath, [write(place, block)], { cwd: place.folder, env, stdio: "inherit" });
    try {
      const ask = (image: string) =>
        fetch(`http://127.0.0.1:${port}/?${new URLSearchParams({ image, prompt: "make it winter" })}`);
      const picture = `data:image/png;base64,${readFileSync(tinyImage).toString("base64")}`;
      let answer: Response | undefined;
      for (const end = performance.now() + 200_000; !answer && performance.now() < end; await delay(50))
        answer = await ask(picture).catch(() => undefined);
      expect(answer?.status).toBe(200);
      expect(answer?.headers.get("content-type")).toBe("image/png");
      expect((await ask("http://127.0.0.1/a.png")).status).toBe(422);
      expect((await ask("data:image/png;base64,aGVsbG8=")).status).toBe(422);
      expect((await ask("photo.jpg")).status).toBe(400);
    } finally {
      child.kill("SIGKILL");
      await once(child, "close");
    }
  });

  it("is scaled down only where it says so", () => {
    for (const [from] of SMALLER) expect(programs.some(([, { code }]) => code.includes(from))).toBe(true);
    expect(programs.some(([, block]) => isServer(block))).toBe(true);
  });
});

/** Python is not run, since it needs its own packages: it names the columns that are read. */
it("the program in Python names the columns of a data set", () => {
  // guides.test.ts has those of the guides; test/server sends what a client of OpenAI's API sends.
  const guides = /^docs\/(?:image-to-image|coming-from-diffusers|server)\.md:/;
  const [block, ...others] = blocks("python").filter(({ where }) => !guides.test(where));
  expect(others).toEqual([]);
  for (const name of ["original_image_column", "edit_prompt_column", "edited_image_column"] as const)
    expect(block!.code).toContain(`"${trainOptions[name].default}"`);
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}
