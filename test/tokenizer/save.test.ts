import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { builtInTokenizer } from "../../lib/tokenizer/built-in.js";
import { CLIPTokenizer } from "../../lib/tokenizer/clip_tokenizer.js";
import { fixture, readJson } from "../helpers/fixtures.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ip2p-tokenizer-save-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const padded = (tokenizer: CLIPTokenizer) => tokenizer.encode("a cat!", { padding: "max_length" });

test("a padding token that was given is saved", async () => {
  const given = await CLIPTokenizer.fromPretrained(builtInTokenizer, { padToken: "!" });
  expect(given.padTokenId).toBe(0);
  await given.savePretrained(join(folder, "given"));
  expect(readdirSync(join(folder, "given")).sort()).toEqual(["merges.txt", "tokenizer_config.json", "vocab.json"]);
  const again = await CLIPTokenizer.fromPretrained(join(folder, "given"));
  expect(padded(again)).toEqual(padded(given));
  const own = readJson<object>(join(builtInTokenizer, "tokenizer_config.json"));
  expect(readJson(join(folder, "given", "tokenizer_config.json"))).toEqual({ ...own, pad_token: "!" });
  for (const name of ["merges.txt", "vocab.json"])
    expect(readFileSync(join(folder, "given", name)).equals(readFileSync(join(builtInTokenizer, name)))).toBe(true);
});

test("also in the map of special tokens, and where there is no configuration", async () => {
  const own = fixture("script-full", "base", "tokenizer");
  const given = await CLIPTokenizer.fromPretrained(own, { padToken: "!" });
  await given.savePretrained(join(folder, "map"));
  expect(readJson(join(folder, "map", "special_tokens_map.json"))).toMatchObject({ pad_token: "!" });
  expect(padded(await CLIPTokenizer.fromPretrained(join(folder, "map")))).toEqual(padded(given));

  const bare = join(folder, "bare");
  cpSync(own, bare, { recursive: true });
  for (const name of readdirSync(bare)) if (/config|map/.test(name)) rmSync(join(bare, name));
  const unconfigured = await CLIPTokenizer.fromPretrained(bare, { padToken: "!" });
  await unconfigured.savePretrained(join(folder, "configured"));
  expect(readJson(join(folder, "configured", "tokenizer_config.json"))).toEqual({ pad_token: "!" });
  expect(padded(await CLIPTokenizer.fromPretrained(join(folder, "configured")))).toEqual(padded(unconfigured));
});

test("a tokenizer is saved as it was loaded, whatever has become of its folder", async () => {
  const source = join(folder, "source");
  cpSync(fixture("script-full", "base", "tokenizer"), source, { recursive: true });
  writeFileSync(join(source, "unrelated.json"), "{}");
  const tokenizer = await CLIPTokenizer.fromPretrained(source);
  rmSync(source, { recursive: true });
  await tokenizer.savePretrained(join(folder, "deep", "saved"));
  const original = fixture("script-full", "base", "tokenizer");
  expect(readdirSync(join(folder, "deep", "saved")).sort()).toEqual(readdirSync(original).sort());
  for (const name of readdirSync(original))
    expect(readFileSync(join(folder, "deep", "saved", name)).equals(readFileSync(join(original, name)))).toBe(true);
  const file = join(folder, "file");
  writeFileSync(file, "");
  await expect(tokenizer.savePretrained(join(file, "below"))).rejects.toMatchObject({
    code: "ERR_IO",
    message: expect.stringMatching(/^cannot save the tokenizer in /),
  });
});
