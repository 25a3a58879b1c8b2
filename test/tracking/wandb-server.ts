import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A run as the server keeps it. */
export interface ServedRun {
  entity: string;
  project: string;
  name: string;
  displayName: string;
  /** Each option's `{ value }`. */
  config: Record<string, { value: unknown }>;
  fields: Record<string, unknown>;
  /** Lines of each streamed file. */
  files: Map<string, string[]>;
  uploads: Map<string, Buffer>;
  uploaded: string[];
  complete: boolean;
  exitCode: number | undefined;
  heartbeats: number;
  starts: number;
}

/** What the server does with a request instead of answering it. */
export type Fault =
  | { status: number; headers?: Record<string, string>; body?: string }
  | "reset"
  | "hang"
  | "lose answer";

export interface Request {
  method: string;
  path: string;
  headers: IncomingMessage["headers"];
  body: Buffer;
}

const KEY = "0123456789abcdef0123456789abcdef01234567";
const OWNER = "someone";

/** W&B's lines have numbers that JSON does not have; here they become texts. */
function parseLine(line: string): Record<string, unknown> {
  return JSON.parse(line.replace(/:(NaN|-?Infinity)(?=[,}])/g, ':"$1"'));
}

/**
 * A W&B server as far as training runs need one: `upsertBucket`, `createRunFiles` and the status for resuming by
 * GraphQL, `file_stream`, and uploads. It is strict where the real one is: the key, offsets, JSON lines with steps that
 * go up.
 */
export class WandbServer {
  readonly key = KEY;
  readonly runs = new Map<string, ServedRun>();
  /** Everything that came in. */
  readonly requests: Request[] = [];
  /** What clients did that the real server would not take. */
  readonly violations: string[] = [];
  fault: (request: Request) => Fault | undefined = () => undefined;
  #server: Server;
  #answers: (query: string) => object | undefined;

  /** @param answers data for queries beyond those of a training run */
  constructor(answers: (query: string) => object | undefined = () => undefined) {
    this.#answers = answers;
    this.#server = createServer((request, response) => void this.#handle(request, response));
  }

  async listen(port = 0): Promise<void> {
    this.#server.listen(port, "127.0.0.1");
    await once(this.#server, "listening");
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  /** The only run there is. */
  get run(): ServedRun {
    if (this.runs.size !== 1) throw new Error(`there are ${this.runs.size} runs`);
    return [...this.runs.values()][0]!;
  }

  /** The run's history, parsed. */
  history(run = this.run): Record<string, unknown>[] {
    return (run.files.get("wandb-history.jsonl") ?? []).map(parseLine);
  }

  summary(run = this.run): Record<string, unknown> {
    return parseLine(run.files.get("wandb-summary.json")?.at(-1) ?? "{}");
  }

  async #handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of incoming) chunks.push(chunk as Buffer);
    } catch {
      return;
    }
    const request = {
      method: incoming.method!,
      path: incoming.url!,
      headers: incoming.headers,
      body: Buffer.concat(chunks),
    };
    this.requests.push(request);
    const fault = this.fault(request);
    if (fault === "reset") return void incoming.socket.destroy();
    if (fault === "hang") return;
    if (typeof fault === "object") {
      response.writeHead(fault.status, fault.headers).end(fault.body ?? "");
      return;
    }
    const { status, body } = this.#answer(request);
    if (fault === "lose answer") return void incoming.socket.destroy();
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  }

  #answer(request: Request): { status: number; body: object } {
    const upload = /^\/storage\/(.+)\?signature=ok$/.exec(request.path);
    if (upload && request.method === "PUT") return this.#upload(decodeURIComponent(upload[1]!), request);
    if (request.headers.authorization !== `Basic ${Buffer.from(`api:${KEY}`).toString("base64")}`)
      return { status: 401, body: { errors: [{ message: "user is not logged in" }] } };
    const stream = /^\/files\/([^/]+)\/([^/]+)\/([^/]+)\/file_stream$/.exec(request.path);
    if (stream && request.method === "POST")
      return this.#stream(stream.slice(1).map(decodeURIComponent).join("/"), request.body);
    if (request.path === "/graphql" && request.method === "POST") {
      const { query, variables } = JSON.parse(request.body.toString());
      const data = this.#graphql(query, variables);
      return data
        ? { status: 200, body: { data } }
        : { status: 400, body: { errors: [{ message: `unknown query: ${String(query).slice(0, 60)}` }] } };
    }
    return { status: 404, body: { error: "not found" } };
  }

  #graphql(query: string, variables: Record<string, unknown>): object | undefined {
    if (query.includes("upsertBucket(")) return this.#upsert(variables);
    if (query.includes("createRunFiles(")) {
      const run = this.#find(`${variables.entity}/${variables.project}/${variables.run}`);
      const files = (variables.files as string[]).map((name) => ({
        name,
        uploadUrl: `${this.url}/storage/${encodeURIComponent(`${run.name}/${name}`)}?signature=ok`,
      }));
      return { createRunFiles: { runID: run.name, uploadHeaders: ["X-Storage:  yes"], files } };
    }
    if (query.includes("historyTail")) {
      const found = [...this.runs.values()].find(
        ({ name, project }) => name === variables.name && project === variables.project,
      );
      if (!found)
        return { model: { id: "m", name: variables.project, entity: { id: "e", name: OWNER }, bucket: null } };
      const lines = found.files.get("wandb-history.jsonl") ?? [];
      const bucket = {
        id: "b",
        name: found.name,
        displayName: found.displayName,
        historyLineCount: lines.length,
        eventsLineCount: 0,
        logLineCount: 0,
        historyTail: JSON.stringify(lines.slice(-1)),
        eventsTail: "[]",
        summaryMetrics: found.files.get("wandb-summary.json")?.at(-1) ?? "{}",
        config: JSON.stringify(found.config),
        tags: [],
        notes: null,
        wandbConfig: JSON.stringify({ t: (found.config._wandb?.value as { t?: unknown } | undefined)?.t }),
      };
      return { model: { id: "m", name: variables.project, entity: { id: "e", name: OWNER }, bucket } };
    }
    return this.#answers(query);
  }

  #upsert(variables: Record<string, unknown>): object {
    const entity = (variables.entity as string | null) ?? OWNER;
    const [project, name] = [variables.project as string, variables.name as string];
    const key = `${entity}/${project}/${name}`;
    const existing = this.runs.get(key);
    const run: ServedRun = existing ?? {
      entity,
      project,
      name,
      displayName: "lively-sunset-1",
      config: {},
      fields: {},
      files: new Map(),
      uploads: new Map(),
      uploaded: [],
      complete: false,
      exitCode: undefined,
      heartbeats: 0,
      starts: 0,
    };
    this.runs.set(key, run);
    run.starts++;
    run.complete = false;
    run.fields = variables;
    if (typeof variables.displayName === "string") run.displayName = variables.displayName;
    if (typeof variables.config === "string") run.config = JSON.parse(variables.config);
    const bucket = {
      id: "b",
      name,
      displayName: run.displayName,
      description: null,
      config: JSON.stringify(run.config),
      sweepName: null,
      historyLineCount: run.files.get("wandb-history.jsonl")?.length ?? 0,
      project: { id: "p", name: project, entity: { id: "e", name: entity } },
    };
    return { upsertBucket: { bucket, inserted: !existing } };
  }

  #stream(key: string, body: Buffer): { status: number; body: object } {
    const run = this.runs.get(key);
    if (!run) return { status: 404, body: { error: `run ${key} not found` } };
    const { files, uploaded, complete, exitcode } = JSON.parse(body.toString()) as {
      files?: Record<string, { offset: number; content: string[] }>;
      uploaded?: string[];
      complete?: boolean;
      exitcode?: number;
    };
    if (!files && !uploaded && !complete) run.heartbeats++;
    for (const [name, { offset, content }] of Object.entries(files ?? {})) {
      const lines = run.files.get(name) ?? [];
      if (offset > lines.length) this.violations.push(`${name}: offset ${offset} with ${lines.length} lines`);
      lines.splice(offset, content.length, ...content);
      run.files.set(name, lines);
      for (const line of content) if (line.includes("\n")) this.violations.push(`${name}: a line feed in a line`);
    }
    this.#checkHistory(run);
    run.uploaded.push(...(uploaded ?? []));
    if (complete) {
      run.complete = true;
      run.exitCode = exitcode;
    }
    return { status: 200, body: { exitcode: null, limits: {} } };
  }

  #checkHistory(run: ServedRun): void {
    const steps = this.history(run).map(({ _step }) => _step as number);
    steps.forEach((step, i) => {
      if (!Number.isSafeInteger(step) || (i > 0 && step <= steps[i - 1]!))
        this.violations.push(`step ${step} after ${steps[i - 1]}`);
    });
  }

  #upload(path: string, request: Request): { status: number; body: object } {
    const [id, ...name] = path.split("/");
    const run = [...this.runs.values()].find((candidate) => candidate.name === id);
    if (!run) return { status: 404, body: {} };
    run.uploads.set(name.join("/"), request.body);
    return { status: 200, body: {} };
  }

  #find(key: string): ServedRun {
    const run = this.runs.get(key);
    if (!run) throw new Error(`run ${key} not found`);
    return run;
  }
}
