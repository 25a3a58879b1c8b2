import { createServer } from "node:net";
import type { TrainInput } from "../../../lib/training/train-input.js";
import { type Ended, TrainProcess } from "../reliability/train-process.js";

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** `ip2p train` as the ranks of one training, started as torchrun does. */
export class Ranks {
  readonly processes: TrainProcess[];

  private constructor(processes: TrainProcess[]) {
    this.processes = processes;
  }

  static async start(size: number, options: TrainInput): Promise<Ranks> {
    const port = await freePort();
    const env = (rank: number) => ({
      RANK: String(rank),
      LOCAL_RANK: String(rank),
      WORLD_SIZE: String(size),
      MASTER_ADDR: "127.0.0.1",
      MASTER_PORT: String(port),
    });
    return new Ranks(Array.from({ length: size }, (_, rank) => new TrainProcess(options, { env: env(rank) })));
  }

  get ended(): Promise<Ended[]> {
    return Promise.all(this.processes.map(({ ended }) => ended));
  }
}
