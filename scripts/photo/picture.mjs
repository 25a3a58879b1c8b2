// Makes the image that diffusers edits in scripts/record-built-in.py, and writes the settings of the edit.

import { join } from "node:path";
import { builtInPhotoModel, loadImage } from "../../dist/index.js";
import { writeEditToRecord } from "../model/recorded-edit.mjs";
import { EDITING } from "./settings.mjs";

const photo = await loadImage(join(builtInPhotoModel, "examples", "cat.jpg"));
await writeEditToRecord("built-in-photo", await photo.resize(96, 64, "lanczos"), "make it night", EDITING);
