// Draws the image that diffusers edits in scripts/record-built-in.py, and writes the settings of the edit.

import { drawScene, worldExample } from "../../dist/world/index.js";
import { writeEditToRecord } from "../model/recorded-edit.mjs";
import { EDITING } from "./settings.mjs";

const { scene, edit } = worldExample(1000, 6);
await writeEditToRecord("built-in", await drawScene(scene), edit.instruction, EDITING);
