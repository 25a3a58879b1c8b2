import type { FastifyBaseLogger } from "fastify";
import type { Access } from "./access/access.js";
import type { Metrics } from "./metrics.js";
import type { ModelStore } from "./model-store.js";
import type { ServerSettings } from "./options.js";
import type { BoundedQueue } from "./queue.js";
import type { RequestLives } from "./request-life.js";

/** What the routes of a server share. */
export interface Serving {
  readonly settings: ServerSettings;
  readonly access: Access;
  readonly store: ModelStore;
  /** The names of the LoRA adapters. */
  readonly loras: readonly string[];
  readonly queue: BoundedQueue;
  readonly metrics: Metrics;
  readonly lives: RequestLives;
  /** Requests whose images are being decoded. */
  readonly reading: { count: number };
  readonly log: FastifyBaseLogger;
  /** Fires when the server stops. */
  readonly stopping: AbortSignal;
  /** Whether it takes requests: not once it is stopping. */
  ready: boolean;
}
