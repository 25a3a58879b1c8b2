import { describe } from "./edit.js";
import { withArticle } from "./phrases.js";
import type { Background, Scene } from "./scene.js";
import type { Style } from "./vocabulary.js";

/** The words of captions besides names of objects, for the vocabulary. */
export const CAPTION_WORDS =
  "a an and in the on to background stripes dots checks fading at night snow inverted colours black white big pixels";

/** The caption of a scene: `a red star in the top left and a small blue ring in the middle on mint stripes at night` */
export function caption({ objects, background, time, weather, style }: Scene): string {
  const things = objects.map((object) => `${withArticle(describe(object))} in the ${object.place.cell}`);
  const where = ground(background);
  return [
    things.length === 0 ? where : `${things.join(" and ")} on ${where}`,
    ...(time === "night" ? ["at night"] : []),
    ...(weather === "snow" ? ["in the snow"] : []),
    ...(style === "none" ? [] : [STYLE_WORDS[style]]),
  ].join(" ");
}

const STYLE_WORDS: Record<Exclude<Style, "none">, string> = {
  grey: "in black and white",
  inverted: "in inverted colours",
  pixelated: "in big pixels",
  sepia: "in sepia",
};

function ground(background: Background): string {
  switch (background.kind) {
    case "plain":
      return `${withArticle(background.colour)} background`;
    case "gradient":
      return `${background.colour} fading to ${background.to}`;
    default:
      return `${background.colour} ${background.kind}`;
  }
}
