import type { Access } from "./access/access.js";
import type { Metrics } from "./metrics.js";
import type { ModelStore } from "./models.js";
import type { ServerSettings } from "./options.js";
import type { BoundedQueue } from "./queue.js";
import type { RequestLives } from "./request-life.js";

/** What the routes of a server share. */
export interface Serving {
  readonly settings: ServerSettings;
  readonly access: Access;
  readonly store: ModelStore;
  readonly queue: BoundedQueue;
  readonly metrics: Metrics;
  readonly lives: RequestLives;
  /** Requests whose images are being decoded. */
  readonly reading: { count: number };
  /** Whether it takes requests: not once it is stopping. */
  ready: boolean;
}
