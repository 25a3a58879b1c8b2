// A program with instruct-pix2pix/server in it: the routes of `ip2p serve`, and one of its own.
//
//   npm start
//   curl -F image=@photo.jpg -F prompt="make it winter" -o winter.png http://127.0.0.1:8080/edit
//
// MODEL names the model, PORT the port.

import { builtInPhotoModel } from "instruct-pix2pix";
import { createServer } from "instruct-pix2pix/server";

const server = await createServer({
  models: { edit: process.env.MODEL ?? builtInPhotoModel },
  port: Number(process.env.PORT ?? 8080),
});
server.app.get("/", async () => "Send an image and an instruction to /edit.\n");
await server.listen();

// Requests in progress are finished. A second signal ends the process at once, as if there were no handler.
for (const name of /** @type {const} */ (["SIGTERM", "SIGINT"])) process.once(name, () => server.close());
