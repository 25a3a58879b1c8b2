import type { FastifyInstance } from "fastify";
import { manifestVersion } from "../runtime/addon.js";
import { packageRoot } from "../runtime/platform.js";
import type { Schema } from "./fields.js";

/** What the OpenAPI document says of a route beside its method and its path. */
export interface RouteDoc {
  summary: string;
  /** Schemas of the body by media type. */
  body?: Readonly<Record<string, Schema>>;
  /** Schemas of the successful answer by media type. */
  answer: Readonly<Record<string, Schema>>;
  /** Its parameters in the path and the query, as OpenAPI has them. */
  parameters?: readonly Schema[];
  /** Statuses of its errors. */
  errors?: readonly number[];
  /** Of its successful answer. Default 200. */
  status?: number;
  /** Whether it needs no key. Default false. */
  open?: boolean;
}

declare module "fastify" {
  interface FastifyContextConfig {
    /** Null for what is no part of the API. */
    doc?: RouteDoc | null;
  }
}

/** The schema of every error. */
const ERROR: Schema = {
  type: "object",
  required: ["error"],
  properties: {
    error: {
      type: "object",
      required: ["message", "type", "param", "code"],
      properties: {
        message: { type: "string" },
        type: { type: "string" },
        param: { type: ["string", "null"], description: "the field that is wrong" },
        code: { type: "string" },
      },
    },
  },
};

/** Answers that a route may give in place of its own: because of `Host`, `Origin`, its key, or an error of the server. */
const ANYWHERE = [400, 401, 403, 421, 500];

const reference = (name: string) => ({ $ref: `#/components/schemas/${name}` });

/**
 * Collects the routes that the app gets from now on, and serves them as `/openapi.json`.
 *
 * @throws an error for a route of which nothing is said
 */
export function documentRoutes(app: FastifyInstance): void {
  const paths: Record<string, Record<string, object>> = {};
  app.addHook("onRoute", ({ url, method, config }) => {
    const doc = config?.doc;
    if (method === "HEAD" || method === "OPTIONS" || doc === null) return;
    if (doc === undefined) throw new Error(`${method} ${url} lacks what the OpenAPI document says of it`);
    const place = url.replace(/:(\w+)/g, "{$1}").replace("*", "{name}");
    paths[place] = { ...paths[place], [String(method).toLowerCase()]: operation(doc) };
  });
  const document = {
    openapi: "3.1.0",
    info: {
      ...{
        title: "instruct-pix2pix",
        version: manifestVersion(packageRoot),
        license: { name: "Apache-2.0", identifier: "Apache-2.0" },
      },
      description: "Images by diffusion models, with OpenAI's API.",
    },
    paths,
    components: {
      schemas: { Error: ERROR },
      securitySchemes: { key: { type: "http", scheme: "bearer", description: "needed if the server has keys" } },
    },
  };
  const doc: RouteDoc = {
    ...{ summary: "This document", open: true, errors: [] },
    answer: { "application/json": { type: "object" } },
  };
  app.get("/openapi.json", { config: { doc } }, async () => document);
}

function operation({ summary, body, answer, parameters, errors = [], open = false, status = 200 }: RouteDoc): object {
  const failure = (status: number) => [
    String(status),
    { description: ERRORS[status] ?? "an error", content: { "application/json": { schema: reference("Error") } } },
  ];
  return {
    summary,
    ...(!open && { security: [{}, { key: [] }] }),
    ...(parameters && { parameters }),
    ...(body && { requestBody: { required: true, content: contents(body) } }),
    responses: {
      [status]: { description: "the answer", content: contents(answer) },
      ...Object.fromEntries([...new Set([...ANYWHERE, ...errors])].map(failure)),
    },
  };
}

function contents(schemas: Readonly<Record<string, Schema>>): object {
  return Object.fromEntries(Object.entries(schemas).map(([type, schema]) => [type, { schema }]));
}

const ERRORS: Readonly<Record<number, string>> = {
  400: "a field is missing, misspelt or out of range",
  401: "no valid key",
  403: "not from there",
  404: "there is none",
  408: "the body took too long to arrive",
  409: "it was interrupted, or is not over",
  413: "the body is too large",
  415: "the body's type is not supported",
  421: "the name in Host is not allowed",
  422: "the image cannot be read or fetched",
  429: "no place is free; Retry-After says when",
  500: "an internal error",
  503: "memory has run out, or the server is stopping",
  504: "it took longer than allowed",
};
