export { caption } from "./caption.js";
export { drawScene } from "./draw.js";
export { EDIT_FAMILIES, type Edit, type EditFamily, otherEdits, randomEdit } from "./edit.js";
export { worldExample } from "./example.js";
export { lessonExample } from "./lesson.js";
export { Random } from "./random.js";
export { type Background, type Place, randomScene, type Scene, type SceneObject } from "./scene.js";
export { EditJudge, type EditScore, RIVALS, type ScoreSummary, summariseScores } from "./score.js";
export { WORLD_WORDS } from "./words.js";
