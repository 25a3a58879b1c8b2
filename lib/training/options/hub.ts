import { declareOptions } from "../../options/declaration.js";

const GROUP = "Hub";

/** Publishing the model. */
export const hubOptions = declareOptions({
  push_to_hub: { type: "boolean", group: GROUP, mayChange: true, help: "upload the model when it is trained" },
  hub_token: {
    type: "string",
    value: "TOKEN",
    group: GROUP,
    secret: true,
    mayChange: true,
    help: "access token, visible to other users in the process list: prefer hub_token_file; default from HF_TOKEN or the hub's command line",
  },
  hub_token_file: {
    type: "string",
    value: "FILE",
    group: GROUP,
    mayChange: true,
    help: "a file with the access token, which should be readable by its owner only",
  },
  hub_model_id: {
    type: "string",
    value: "NAME/NAME",
    group: GROUP,
    mayChange: true,
    help: "repository to upload to; by default named after the output folder",
  },
});
