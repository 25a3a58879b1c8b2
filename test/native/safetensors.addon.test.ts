import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { InstructPix2PixError } from "../../lib/core/errors.js";
import { type DType, Tensor } from "../../lib/core/tensor.js";
import { loadSafetensors, loadSafetensorsWithMetadata, saveSafetensors } from "../../lib/files/safetensors.js";
import { malformedClasses, pack } from "./malformed-safetensors.js";

const fixtures = join(import.meta.dirname, "..", "fixtures");
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "ip2p-safetensors-"));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** The typed error of loading `path`, which must name the path in one line. */
async function refusal(path: string): Promise<InstructPix2PixError> {
  const error = await loadSafetensors(path).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error, `${path} was loaded`).toBeInstanceOf(InstructPix2PixError);
  const { message } = error as InstructPix2PixError;
  expect(message.startsWith(`${path}: `), message).toBe(true);
  expect(message).not.toMatch(/[\n\r]/);
  return error as InstructPix2PixError;
}

describe("a malformed file is a typed error that says what is wrong", () => {
  test("there are enough kinds of malformed files", () => {
    expect(malformedClasses.length).toBeGreaterThanOrEqual(15);
    for (const { files } of malformedClasses) expect(files.length).toBeGreaterThanOrEqual(10);
  });

  test.each(malformedClasses)("$name", async ({ files }) => {
    const path = join(folder, "malformed.safetensors");
    for (const file of files) {
      await writeFile(path, file.bytes);
      const error = await refusal(path);
      expect(error.code, file.title).toBe("ERR_SAFETENSORS");
      expect(error.message, file.title).toMatch(file.message);
    }
  });

  test("a header made to fill memory is refused before it does", async () => {
    const path = join(folder, "bomb.safetensors");
    // 3.5 million entries of 8 bytes each would take half a gigabyte.
    await writeFile(path, pack(`{"__metadata__":{${Array.from({ length: 3_500_000 }, (_, i) => `"${i}":""`)}}}`));
    const before = process.memoryUsage.rss();
    await refusal(path);
    expect(process.memoryUsage.rss() - before).toBeLessThan(200e6);
  });

  test("random damage to a valid file causes at most an error", async () => {
    const path = join(folder, "damaged.safetensors");
    const good = await readFile(join(fixtures, "safetensors", "every-dtype.safetensors"));
    let state = 1;
    const random = (below: number) => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % below;
    };
    let refused = 0;
    for (let i = 0; i < 1000; ++i) {
      const bytes = Buffer.from(good);
      for (let flips = 1 + random(4); flips > 0; --flips) bytes[random(i % 2 ? 200 : bytes.length)] = random(256);
      await writeFile(path, i % 5 === 0 ? bytes.subarray(0, random(bytes.length)) : bytes);
      try {
        for (const tensor of Object.values(await loadSafetensors(path))) tensor.dispose();
      } catch (error) {
        expect(error).toBeInstanceOf(InstructPix2PixError);
        ++refused;
      }
    }
    expect(refused).toBeGreaterThan(400);
  });

  test("every input of the fuzzing corpus is accepted or refused as recorded", async () => {
    const corpus = join(fixtures, "safetensors-corpus");
    const accepted = new Set((await readFile(join(fixtures, "safetensors-corpus-accepted.txt"), "utf8")).split("\n"));
    const names = await readdir(corpus);
    expect(names.length).toBeGreaterThan(100);
    for (const name of names) {
      const path = join(corpus, name);
      if (accepted.has(name)) await loadOrRefuseType(path);
      else expect((await refusal(path)).code, name).toBe("ERR_SAFETENSORS");
    }
  });

  /** A well-formed file may still hold types that no Tensor has. */
  async function loadOrRefuseType(path: string): Promise<void> {
    try {
      for (const tensor of Object.values(await loadSafetensors(path))) tensor.dispose();
    } catch (error) {
      expect((error as Error).message).toMatch(/\b(F4|F6_E[23]M[23]|F8_E\w+|U16|U32|U64|C64)\b/);
    }
  }
});

describe("a path that is not a file", () => {
  test("is not found", async () => {
    expect((await refusal(join(folder, "absent.safetensors"))).code).toBe("ERR_FILE_NOT_FOUND");
    expect((await refusal(join(folder, "absent", "x.safetensors"))).code).toBe("ERR_FILE_NOT_FOUND");
  });

  test("a folder is named as one", async () => {
    const error = await refusal(folder);
    expect(error.message).toMatch(/is a folder/);
  });

  test.skipIf(process.platform === "win32")("a pipe or a device is refused without waiting for it", async () => {
    const pipe = join(folder, "pipe.safetensors");
    execFileSync("mkfifo", [pipe]);
    for (const path of [pipe, "/dev/zero", "/dev/null"]) expect((await refusal(path)).message).toMatch(/regular file/);
  });
});

describe("a file written by Python", () => {
  const path = join(fixtures, "safetensors", "every-dtype.safetensors");

  test("is read with its values", async () => {
    const { tensors, metadata } = await loadSafetensorsWithMetadata(path);
    expect(metadata).toEqual({ format: "pt" });
    expect(Object.keys(tensors)).toHaveLength(31);
    for (const dtype of ["float32", "float64", "bfloat16", "float16"] as const) {
      const matrix = tensors[`${dtype}.matrix`]!;
      expect(matrix.dtype).toBe(dtype);
      expect(matrix.shape).toEqual([2, 3]);
      const values = Array.from(await matrix.toArray(), Number);
      expect(values.slice(0, 5)).toEqual([0.5, -1.25, 3, Number.POSITIVE_INFINITY, -0]);
      expect(values[5]).toBeCloseTo(1e-3, 5);
      expect(tensors[`${dtype}.scalar`]!.shape).toEqual([]);
      expect(await tensors[`${dtype}.scalar`]!.item()).toBe(-2.5);
      expect(tensors[`${dtype}.empty`]!.shape).toEqual([0, 3]);
    }
    const integers: [DType, (number | bigint)[]][] = [
      ["int64", [-(2n ** 63n), 2n ** 53n + 1n, 7n]],
      ["int32", [-(2 ** 31), 0, 2 ** 31 - 1]],
      ["int16", [-(2 ** 15), 0, 2 ** 15 - 1]],
      ["int8", [-128, 0, 127]],
      ["uint8", [0, 1, 255]],
      ["bool", [1, 0, 1]],
    ];
    for (const [dtype, expected] of integers) {
      expect(tensors[`${dtype}.vector`]!.dtype).toBe(dtype);
      expect(Array.from((await tensors[`${dtype}.vector`]!.toArray()) as Iterable<number | bigint>)).toEqual(expected);
      expect(tensors[`${dtype}.scalar`]!.shape).toEqual([]);
      expect(tensors[`${dtype}.empty`]!.shape).toEqual([2, 0]);
    }
    expect(Array.from(await tensors['naïve "name"\n日本']!.toArray(), Number)).toEqual([0, 1, 2]);
  });

  test("is written again byte for byte", async () => {
    const { tensors, metadata } = await loadSafetensorsWithMetadata(path);
    const copy = join(folder, "copy.safetensors");
    await saveSafetensors(copy, tensors, metadata ?? undefined);
    expect((await readFile(copy)).equals(await readFile(path))).toBe(true);
  });

  test("with types that no Tensor has is refused by their name", async () => {
    for (const dtype of ["U16", "U32", "U64", "F8_E4M3", "F8_E5M2", "C64", "F4"]) {
      const foreign = join(folder, "foreign.safetensors");
      await writeFile(foreign, pack({ x: { dtype, shape: [0], data_offsets: [0, 0] } }));
      const error = await refusal(foreign);
      expect(error.message).toContain(dtype);
      expect(error.message).toContain('"x"');
    }
  });
});

describe("a saved file", () => {
  test.each<DType>(["float32", "float64", "bfloat16", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"])(
    "comes back: %s",
    async (dtype) => {
      const path = join(folder, `${dtype}.safetensors`);
      const tensors: Record<string, Tensor> = {
        matrix: Tensor.from([0, 1, 1, 0, 1, 1], [2, 3], { dtype }),
        scalar: Tensor.from([1], [], { dtype }),
        empty: Tensor.from([], [0], { dtype }),
        "empty matrix": Tensor.from([], [3, 0, 2], { dtype }),
        "": Tensor.from([1], [1, 1, 1], { dtype }),
      };
      await saveSafetensors(path, tensors);
      const loaded = await loadSafetensors(path);
      expect(Object.keys(loaded).sort()).toEqual(Object.keys(tensors).sort());
      for (const [name, tensor] of Object.entries(tensors)) expect(await loaded[name]!.equal(tensor), name).toBe(true);
    },
  );

  test("keeps strange names and metadata", async () => {
    const path = join(folder, "names.safetensors");
    const names = ["0", "__proto__", "constructor", 'a"b\\c', "line\nbreak", "\0", "é日本😀", "x".repeat(1000)];
    const tensors: Record<string, Tensor> = Object.create(null);
    names.forEach((name, i) => {
      tensors[name] = Tensor.from([i]);
    });
    const metadata = { format: "pt", "": "", 'k"\n': "v\\\u2028\u0007", 日本: "😀" };
    await saveSafetensors(path, tensors, metadata);
    const loaded = await loadSafetensorsWithMetadata(path);
    expect(loaded.metadata).toEqual(metadata);
    expect(Object.keys(loaded.tensors).sort()).toEqual([...names].sort());
    for (const [i, name] of names.entries()) expect(await loaded.tensors[name]!.item()).toBe(i);
  });

  test("without tensors is valid", async () => {
    const path = join(folder, "none.safetensors");
    await saveSafetensors(path, {});
    expect(await readFile(path)).toEqual(pack("{}      "));
    expect(Object.keys(await loadSafetensors(path))).toEqual([]);
    await saveSafetensors(path, {}, {});
    expect((await loadSafetensorsWithMetadata(path)).metadata).toEqual({});
  });
});

describe("a save that fails", () => {
  const old = { x: [1, 2, 3] };
  let target: string;

  beforeAll(async () => {
    target = join(folder, "saving", "model.safetensors");
    await mkdir(join(folder, "saving"));
    await saveSafetensors(target, { x: Tensor.from(old.x) });
  });

  /** The old file is whole and nothing lies beside it. */
  async function expectUntouched(): Promise<void> {
    expect(await readdir(join(folder, "saving"))).toEqual(["model.safetensors"]);
    const { x } = await loadSafetensors(target);
    expect(Array.from(await x!.toArray(), Number)).toEqual(old.x);
  }

  async function failure(path: string, tensors: Record<string, Tensor>): Promise<InstructPix2PixError> {
    const error = await saveSafetensors(path, tensors).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(InstructPix2PixError);
    return error as InstructPix2PixError;
  }

  test("for a name that is reserved leaves the old file", async () => {
    const error = await failure(target, { __metadata__: Tensor.from([1]) });
    expect(error.code).toBe("ERR_SAFETENSORS");
    expect(error.message).toContain(target);
    await expectUntouched();
  });

  test("for a folder that is absent or is the target names it", async () => {
    const error = await failure(join(folder, "nowhere", "model.safetensors"), { x: Tensor.from([1]) });
    expect(error.code).toBe("ERR_FILE_NOT_FOUND");
    expect((await failure(join(folder, "saving"), { x: Tensor.from([1]) })).message).toMatch(/is a folder/);
    await expectUntouched();
  });

  // A limit on file sizes fails a write halfway, as a full disk does, and its signal would end the process.
  const hasPrlimit = process.platform === "linux" && spawns("prlimit", "--version");
  test.runIf(hasPrlimit)("halfway leaves the old file and no temporary file, and the process continues", async () => {
    const limit = (bytes: string) =>
      execFileSync("prlimit", ["--pid", String(process.pid), `--fsize=${bytes}:unlimited`]);
    limit("65536");
    try {
      const error = await failure(target, { x: Tensor.from(new Float32Array(1 << 18)) });
      expect(error.code).toBe("ERR_IO");
      expect(error.message).toContain(target);
      await expectUntouched();
    } finally {
      limit("unlimited");
    }
    await saveSafetensors(target, { x: Tensor.from(old.x) });
    await expectUntouched();
  });

  function spawns(command: string, ...args: string[]): boolean {
    try {
      execFileSync(command, args, { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  }
});

test("one file can be read many times at once", async () => {
  const path = join(fixtures, "safetensors", "every-dtype.safetensors");
  const all = await Promise.all(Array.from({ length: 16 }, () => loadSafetensors(path)));
  const first = all[0]!["float64.matrix"]!;
  for (const tensors of all) expect(await tensors["float64.matrix"]!.equal(first)).toBe(true);
});
