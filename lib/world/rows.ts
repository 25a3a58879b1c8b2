import type { EditRow } from "../data/write/edit-writer.js";
import { caption } from "./caption.js";
import { drawScene } from "./draw.js";
import type { Edit, EditFamily } from "./edit.js";
import { worldExample } from "./example.js";
import type { Scene } from "./scene.js";

/** Rows drawn and encoded in parallel. */
const AHEAD = 16;

/**
 * The first examples of a seed as rows of a data set, with captions of both images and the family of the edit.
 *
 * @param size of the images in pixels
 * @param families of edits; all by default
 */
export async function* worldRows(
  seed: number,
  count: number,
  size: number,
  families?: readonly EditFamily[],
): AsyncGenerator<EditRow> {
  const ahead: Promise<EditRow>[] = [];
  for (let index = 0; index < count; index++) {
    const row = worldRow(worldExample(seed, index, families), size);
    // If the consumer stops early, pending rows must not cause unhandled rejections.
    row.catch(() => {});
    ahead.push(row);
    if (ahead.length === AHEAD) yield ahead.shift()!;
  }
  yield* ahead;
}

async function worldRow({ scene, edit }: { scene: Scene; edit: Edit }, size: number): Promise<EditRow> {
  const draw = async (shown: Scene) => (await drawScene(shown, size)).encode("png");
  const [before, after] = await Promise.all([draw(scene), draw(edit.target)]);
  return {
    before,
    after,
    prompt: edit.instruction,
    texts: { original_prompt: caption(scene), edited_prompt: caption(edit.target), family: edit.family },
  };
}
