import { join } from "node:path";
import type { FastifyInstance } from "fastify";
import { loadImage, type RgbImage } from "../../images/index.js";
import { type BuiltInKind, builtInPhotoModel } from "../../models/built-in.js";
import { PHOTO_FAMILIES, photoOf, randomPhotoEdit } from "../../photos/index.js";
import { drawScene, otherEdits, Random, worldExample } from "../../world/index.js";
import type { Serving } from "../serving.js";

/** Instructions with an image. */
const INSTRUCTIONS = 6;
/** Of all examples; none of the built-in models' training data, nor of their measurement. */
const SEED = 20;
const COUNT = 1_000_000;

/** The photographs beside the model for them. */
const PHOTOS = ["cat.jpg", "coffee.jpg"] as const;

interface Example {
  image: RgbImage;
  instructions: string[];
}

/** Images that the built-in models know, by the models' kinds. */
const EXAMPLES: Readonly<Record<BuiltInKind, { summary: string; example: (number: number) => Promise<Example> }>> = {
  world: { summary: "An image of the drawn world, and instructions for it", example: drawnExample },
  photos: { summary: "A photograph, and instructions for it", example: photoExample },
};

/** Images that the built-in models know, with instructions for them. */
export function addExampleRoutes(app: FastifyInstance, { access }: Serving): void {
  for (const [kind, { summary, example }] of Object.entries(EXAMPLES))
    app.get<{ Params: { number: number } }>(`/examples/${kind}/:number`, {
      schema: { params: { type: "object", properties: { number: NUMBER } } },
      config: {
        doc: {
          summary,
          parameters: [{ name: "number", in: "path", required: true, schema: NUMBER }],
          answer: { "application/json": ANSWER },
        },
      },
      onRequest: async (request) => {
        access.clientOf(request);
      },
      handler: async ({ params: { number } }) => {
        const { image, instructions } = await example(number);
        return { b64_json: (await image.encode("png")).toString("base64"), instructions };
      },
    });
}

async function drawnExample(number: number): Promise<Example> {
  const { scene, edit } = plainExample(number);
  const others = otherEdits(scene, new Random(SEED, number), INSTRUCTIONS - 1, edit);
  return { image: await drawScene(scene), instructions: [edit, ...others].map((each) => each.instruction) };
}

/** One whose scene has edits of many kinds: not one with inverted colours. */
function plainExample(number: number): ReturnType<typeof worldExample> {
  for (let index = number; ; index += COUNT) {
    const example = worldExample(SEED, index);
    if (example.scene.style === "none") return example;
  }
}

/** Instructions of different families, of those that the photograph allows. */
async function photoExample(number: number): Promise<Example> {
  const image = await loadImage(join(builtInPhotoModel, "examples", PHOTOS[number % PHOTOS.length]!));
  const photo = photoOf(image);
  const random = new Random(SEED, number);
  const instructions: string[] = [];
  const families = [...PHOTO_FAMILIES];
  while (instructions.length < INSTRUCTIONS && families.length > 0) {
    const [family] = families.splice(random.int(families.length), 1);
    const edit = randomPhotoEdit(photo, random, family!);
    if (edit) instructions.push(edit.instruction);
  }
  return { image, instructions };
}

const NUMBER = { type: "integer", minimum: 0, maximum: COUNT - 1 } as const;
const ANSWER = {
  type: "object",
  properties: { b64_json: { type: "string" }, instructions: { type: "array", items: { type: "string" } } },
};
