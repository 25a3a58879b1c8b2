import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { type OpenDatasetOptions, openDataset } from "../../lib/data/open-dataset.js";
import { fixture } from "../helpers/fixtures.js";
import { useHub } from "../hub/fixtures.js";
import { commit } from "../hub/server.js";
import { line, loadAll, MIXED, MIXED_LENGTH, promptsOf } from "./helpers.js";

const hub = useHub();
const parquet = (name = "snappy") => readFileSync(fixture("data", "mixed", "parquet", `${name}.parquet`));
const CONVERTED = commit(7);

/** The hub's answers about a dataset are those about a model of that name. */
beforeEach(() => {
  hub.server.fault = ({ path }, response) => {
    if (!path.startsWith("/datasets/")) return undefined;
    response.writeHead(307, { location: path.slice("/datasets".length) }).end();
    return "handled";
  };
});

function open(datasetName: string, options: OpenDatasetOptions = {}, env: Record<string, string> = {}) {
  return openDataset({ datasetName, cacheDir: hub.cacheDir, ...options }, { ...hub.env, ...env });
}

function publish(id: string, files: Record<string, string | Buffer>, more = {}) {
  hub.server.repositories.set(id, { files, ...more });
}

/** What was fetched from a repository, by name. */
function fetched(): string[] {
  return hub.server.requests
    .filter(({ method, path }) => method === "GET" && path.includes("/resolve/"))
    .map(({ path }) => path.replace(/^.*\/resolve\/[^/]*\//, ""));
}

test("only the parquet files of the split train are downloaded, and only once", async () => {
  publish("org/pairs", {
    ".gitattributes": "",
    "README.md": "# Pairs",
    "data/train-00000-of-00002-0a.parquet": parquet("zstd-small-groups"),
    "data/train-00001-of-00002-0b.parquet": parquet(),
    "data/test-00000-of-00001-0c.parquet": parquet(),
    "loader.py": "raise SystemExit",
  });
  const progress: unknown[] = [];
  const dataset = await open("org/pairs", { onProgress: (now) => progress.push(now) });
  const total = parquet("zstd-small-groups").length + parquet().length + "# Pairs".length;
  expect(progress).toContainEqual({ stage: "download", done: total, total });
  expect(dataset.length).toBe(2 * MIXED_LENGTH);
  expect((await loadAll(dataset)).indices).toHaveLength(2 * MIXED_LENGTH);
  await dataset.close();
  const names = new Set(fetched());
  expect(names).toEqual(
    new Set(["README.md", "data/train-00000-of-00002-0a.parquet", "data/train-00001-of-00002-0b.parquet"]),
  );
  expect(readdirSync(hub.cacheDir)).toContain("datasets--org--pairs");

  hub.server.requests.length = 0;
  await (await open("org/pairs")).close();
  expect(fetched()).toEqual([]);
  await (await open("org/pairs", {}, { HF_HUB_OFFLINE: "1" })).close();
});

test("a configuration of the card is chosen by its name", async () => {
  const card = [
    "---",
    "configs:",
    "- config_name: a",
    "  data_files: a/*",
    "- config_name: b",
    "  data_files: b/*",
    "---",
  ];
  publish("org/two", { "README.md": card.join("\n"), "a/0.parquet": parquet(), "b/0.parquet": parquet("dictionary") });
  await expect(open("org/two")).rejects.toMatchObject({
    code: "ERR_DATASET",
    message: expect.stringMatching(/several configurations; choose one with datasetConfigName: "a", "b"/),
  });
  const dataset = await open("org/two", { datasetConfigName: "b" });
  expect(dataset.describe(0)).toBe("b/0.parquet, row 0");
  await dataset.close();
});

test("an image folder on the hub is read with its metadata", async () => {
  const images = readdirSync(join(MIXED, "images"));
  publish("org/folder", {
    "train/metadata.jsonl": readFileSync(join(MIXED, "metadata.jsonl")),
    "test/metadata.jsonl": line("x.png", "x.png", "not this"),
    ...Object.fromEntries(images.map((name) => [`train/images/${name}`, readFileSync(join(MIXED, "images", name))])),
  });
  const dataset = await open("org/folder");
  const local = await openDataset({ trainDataDir: MIXED });
  expect(await promptsOf(dataset)).toEqual(await promptsOf(local));
  expect(await loadAll(dataset)).toEqual(await loadAll(local));
  expect(fetched()).not.toContain("test/metadata.jsonl");
});

test("a dataset of another format is taken from the hub's conversion to parquet", async () => {
  const script = { "pairs.py": "import datasets", "pairs.tar": "x" };
  publish("org/script", script, { revisions: { main: commit(0), "refs/convert/parquet": CONVERTED } });
  const redirectDatasets = hub.server.fault!;
  hub.server.fault = (request, response) => {
    // The converted branch has other files.
    const files = /refs%2Fconvert%2Fparquet/.test(request.path) || request.path.includes(CONVERTED);
    hub.server.repositories.get("org/script")!.files = files
      ? { "default/train/0000.parquet": parquet(), "default/test/0000.parquet": parquet() }
      : script;
    return redirectDatasets(request, response);
  };
  const dataset = await open("org/script");
  expect(dataset.length).toBe(MIXED_LENGTH);
  expect(dataset.describe(0)).toBe("default/train/0000.parquet, row 0");
  await dataset.close();
});

test("unreadable and missing datasets are reported", async () => {
  publish("org/tar", { "data.tar": "x" });
  await expect(open("org/tar")).rejects.toMatchObject({
    code: "ERR_DATASET",
    message: expect.stringMatching(/^org\/tar holds neither parquet files nor images .* "\.tar"$/),
  });
  await expect(open("org/none")).rejects.toMatchObject({ code: "ERR_HUB" });
  await expect(open("./no/such/folder")).rejects.toMatchObject({ code: "ERR_FILE_NOT_FOUND" });
});

test("the access token is used for the hub and appears nowhere", async () => {
  const token = "hf_canary0123456789";
  publish("org/private", { "train.parquet": parquet() }, { access: { token } });
  const failure = await open("org/private").catch((error) => error);
  expect(failure).toMatchObject({ code: "ERR_HUB" });
  const dataset = await open("org/private", { hubToken: token });
  expect(dataset.length).toBe(MIXED_LENGTH);
  expect(JSON.stringify([dataset.fingerprint, dataset.stamp, dataset.describe(0)])).not.toContain("canary");
  await dataset.close();
});

test("images that a dataset on the hub names on another machine are not looked for on this one", async () => {
  publish("org/paths", { "train.parquet": readFileSync(fixture("data", "mixed", "named", "absolute.parquet")) });
  const dataset = await open("org/paths");
  await expect(dataset.row(0)).rejects.toMatchObject({
    code: "ERR_DATASET",
    message: expect.stringMatching(/another machine; a dataset on the hub must hold its images/),
  });
  await dataset.close();
});
