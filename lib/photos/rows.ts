import { ahead } from "../data/ahead.js";
import type { EditRow } from "../data/write/edit-writer.js";
import type { Album } from "./album.js";
import { CAPTION } from "./edit.js";
import { photoExample } from "./example.js";
import type { PhotoFamily } from "./families/index.js";

/** Rows that are computed and encoded in parallel. */
const AHEAD = 4;

/** The examples of a seed from one number to another as rows of a data set. */
export async function* photoRows(
  album: Album,
  seed: number,
  { from, to }: { from: number; to: number },
  families?: readonly PhotoFamily[],
): AsyncGenerator<EditRow> {
  yield* ahead(to - from, AHEAD, (i) => photoRow(album, seed, from + i, families));
}

async function photoRow(
  album: Album,
  seed: number,
  index: number,
  families?: readonly PhotoFamily[],
): Promise<EditRow> {
  const { photo, edit, before, after } = await photoExample(album, seed, index, families);
  const [beforeFile, afterFile] = await Promise.all([before.encode("png"), after.encode("png")]);
  return {
    before: beforeFile,
    after: afterFile,
    prompt: edit.instruction,
    texts: { original_prompt: CAPTION, edited_prompt: edit.caption, family: edit.family, photo },
  };
}
