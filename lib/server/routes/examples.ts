import type { FastifyInstance } from "fastify";
import { drawScene, otherEdits, Random, worldExample } from "../../world/index.js";
import type { Serving } from "../serving.js";

/** Instructions beside an image. */
const OTHERS = 5;
/** Of all examples; none of the built-in model's training data, nor of its measurement. */
const SEED = 20;
const COUNT = 1_000_000;

/** An image of the world that the built-in model knows, with instructions for it. */
export function addWorldRoutes(app: FastifyInstance, { access }: Serving): void {
  app.get<{ Params: { number: number } }>("/examples/world/:number", {
    schema: { params: { type: "object", properties: { number: NUMBER } } },
    config: {
      doc: {
        summary: "An image that the built-in model knows, and instructions for it",
        parameters: [{ name: "number", in: "path", required: true, schema: NUMBER }],
        answer: { "application/json": ANSWER },
      },
    },
    onRequest: async (request) => {
      access.clientOf(request);
    },
    handler: async ({ params: { number } }) => {
      const { scene, edit } = plainExample(number);
      const others = otherEdits(scene, new Random(SEED, number), OTHERS, edit);
      const png = await (await drawScene(scene)).encode("png");
      return { b64_json: png.toString("base64"), instructions: [edit, ...others].map((each) => each.instruction) };
    },
  });
}

/** One whose scene has edits of many kinds: not one with inverted colours. */
function plainExample(number: number): ReturnType<typeof worldExample> {
  for (let index = number; ; index += COUNT) {
    const example = worldExample(SEED, index);
    if (example.scene.style === "none") return example;
  }
}

const NUMBER = { type: "integer", minimum: 0, maximum: COUNT - 1 } as const;
const ANSWER = {
  type: "object",
  properties: { b64_json: { type: "string" }, instructions: { type: "array", items: { type: "string" } } },
};
