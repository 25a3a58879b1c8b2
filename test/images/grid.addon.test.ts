import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { makeImageGrid, RgbImage } from "../../lib/images/index.js";
import { expectError, noise, readJson } from "./fixtures.js";

interface RecordedGrid {
  sizes: [width: number, height: number][];
  rows: number;
  cols: number;
  resize: number | null;
  size: [width: number, height: number];
  sha256: string;
}

describe("makeImageGrid", () => {
  const pictures = (sizes: RecordedGrid["sizes"]) =>
    sizes.map(([width, height], i) => new RgbImage(width, height, noise(i, width * height * 3)));

  it.each(readJson<RecordedGrid[]>("grids.json"))(
    "gives diffusers' pixels: $sizes in $rows × $cols, resize $resize",
    async (recorded) => {
      const { sizes, rows, cols, resize, size, sha256 } = recorded;
      const grid = await makeImageGrid(pictures(sizes), { rows, cols, resize });
      expect([grid.width, grid.height]).toEqual(size);
      expect(createHash("sha256").update(grid.data).digest("hex")).toBe(sha256);
    },
  );

  it("leaves the images as they are", async () => {
    const [picture] = pictures([[5, 4]]);
    const before = picture!.data.slice();
    const grid = await makeImageGrid([picture!], { rows: 1, cols: 1 });
    grid.data.fill(0);
    expect(picture!.data).toEqual(before);
  });

  it.each([
    [{ rows: 2, cols: 2 }, "a grid of 2 rows and 2 cols takes 4 images, not 3"],
    [{ rows: 0, cols: 3 }, "rows is a whole number of at least 1, not 0"],
    [{ rows: 1, cols: 1.5 }, "cols is a whole number of at least 1, not 1.5"],
    [{ rows: 1 }, "cols is a whole number of at least 1, not undefined"],
    [{ rows: 1, cols: 3, resize: 0 }, "resize is a whole number from 1 to 1048576, not 0"],
    [{ rows: 1, cols: 3, resize: "8" }, 'resize is a whole number from 1 to 1048576, not "8"'],
    [undefined, "rows is a whole number of at least 1, not undefined"],
  ])("refuses %j", async (layout, message) => {
    const three = pictures([
      [5, 4],
      [5, 4],
      [5, 4],
    ]);
    await expectError(makeImageGrid(three, layout as never), "ERR_INVALID_ARGUMENT", new RegExp(message));
  });

  it("refuses what are not images", async () => {
    await expectError(makeImageGrid(["a.png"] as never, { rows: 1, cols: 1 }), "ERR_INVALID_ARGUMENT", /RgbImage/);
    await expectError(makeImageGrid(undefined as never, { rows: 1, cols: 1 }), "ERR_INVALID_ARGUMENT", /images/);
  });
});
