import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { fileNameProblem } from "../../lib/hub/file-names.js";
import { useHub } from "./fixtures.js";

const hub = useHub();

/** Names that would lead out of the cache, or to something else than a file in it, on some system. */
const HOSTILE = [
  "../evil",
  "../../evil",
  "a/../../evil",
  "a/../evil",
  "a/..",
  "..",
  ".",
  "./evil",
  "a/./evil",
  "/evil",
  "//evil",
  "/etc/passwd",
  "/../evil",
  "a//evil",
  "a/",
  "",
  "\\evil",
  "\\\\host\\share\\evil",
  "..\\evil",
  "a\\..\\..\\evil",
  "a\\evil",
  "a/..\\evil",
  "..\\/evil",
  "C:\\evil",
  "C:/evil",
  "C:evil",
  "c:",
  "a/C:evil",
  "a/D:\\evil",
  "file:evil",
  "evil:stream",
  "evil::$DATA",
  "\\\\?\\C:\\evil",
  "\\\\.\\PhysicalDrive0",
  "//?/C:/evil",
  "//host/share/evil",
  "con",
  "CON",
  "con.json",
  "a/nul",
  "nul.safetensors",
  "NUL .txt",
  "aux",
  "prn.txt",
  "com1",
  "COM9.json",
  "com0",
  "com\u00b9",
  "lpt1.safetensors",
  "LPT\u00b3",
  "CONIN$",
  "conout$.txt",
  "evil.",
  "evil ",
  "a./evil",
  "a /evil",
  "...",
  "a/.../evil",
  ".. /evil",
  ". ./evil ",
  "evil\0.json",
  "evil\n",
  "evil\r.json",
  "evil\u001b[2J",
  "evil\u007f",
  "evil\u0085",
  "evil<1>",
  "evil>",
  'evil"',
  "evil|x",
  "evil?",
  "evil*",
  "a/*/evil",
  "evil\ud800",
  "x".repeat(256),
  "é".repeat(128),
  `${"a/".repeat(600)}evil`,
];

const HARMLESS = [
  "model.safetensors",
  "unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
  "a/b/c/d.json",
  ".gitattributes",
  "..json",
  "a..b",
  "..a/b",
  "console.json",
  "nullable",
  "com10",
  "auxiliary/aux_model.json",
  "моя модель/日本.txt",
  "%2e%2e/evil",
  "..%2fevil",
  "~/evil",
  "$HOME/evil",
  "-rf",
  "a b c.txt",
  "x".repeat(255),
];

test("hostile names are recognised, harmless ones accepted", () => {
  expect(HOSTILE.length).toBeGreaterThanOrEqual(60);
  for (const name of HOSTILE) expect(fileNameProblem(name), JSON.stringify(name)).toEqual(expect.any(String));
  for (const name of HARMLESS) expect(fileNameProblem(name), JSON.stringify(name)).toBeUndefined();
  expect(fileNameProblem(3 as unknown as string)).toEqual(expect.any(String));
});

test("no name in a listing leads to a file outside its snapshot", async () => {
  for (const [index, name] of HOSTILE.entries()) {
    hub.server.repositories.set("org/model", { files: { [name]: "evil", "evil/evil.txt": "evil" } });
    const cacheDir = join(hub.scratch, `cache${index}`, "deep", "er");
    const error = await hub.resolve("org/model", { cacheDir, allowPatterns: ["*"] }).catch((thrown) => thrown);
    expect(error, JSON.stringify(name)).toMatchObject({ code: "ERR_HUB" });
    expect(JSON.stringify(error.message), JSON.stringify(name)).not.toMatch(/[^\\]\\[nu]/);
    hub.server.requests.length = 0;
  }
  const everything = await readdir(hub.scratch, { recursive: true });
  expect(everything.filter((path) => path.includes("evil"))).toEqual([]);
});

test("harmless names arrive as they are", async () => {
  const files = Object.fromEntries(HARMLESS.map((name, index) => [name, `content ${index}`]));
  hub.server.repositories.set("org/model", { files });
  const folder = await hub.resolve("org/model", { allowPatterns: ["*"] });
  const names = await readdir(folder, { recursive: true });
  for (const name of HARMLESS) expect(names).toContain(name);
});
