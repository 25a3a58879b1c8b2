import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { listFolder } from "../../lib/data/links.js";
import { useScratch } from "./helpers.js";

const scratch = useScratch();

/** A folder of files, and links to it. */
async function linked(files: number, links: number): Promise<string> {
  const root = await scratch.folder({});
  for (const name of ["pictures", "links"]) mkdirSync(join(root, name));
  for (let i = 0; i < files; i++) writeFileSync(join(root, "pictures", `${i}.png`), "");
  for (let i = 0; i < links; i++) symlinkSync("../pictures", join(root, "links", `${i}`));
  return root;
}

test("files are listed once for every link that leads to their folder, if there are links to follow", async () => {
  const root = await linked(3, 200);
  const names = await listFolder(root, true);
  expect(names).toHaveLength(3 * 201);
  expect(names).toEqual(expect.arrayContaining(["links/0/0.png", "links/199/2.png", "pictures/1.png"]));
  expect(await listFolder(root, false)).toEqual(["pictures/0.png", "pictures/1.png", "pictures/2.png"]);
});

test("more than a million files listed again are refused: the list would grow with files times links", async () => {
  const root = await linked(1000, 1002);
  await expect(listFolder(root, true)).rejects.toMatchObject({
    code: "ERR_DATASET",
    message: expect.stringMatching(/links to folders list more than 1000000 files again, the last in .*links\/\d+$/),
  });
});
