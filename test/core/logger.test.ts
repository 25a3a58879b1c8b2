import { afterEach, describe, expect, test, vi } from "vitest";
import { setLogger } from "../../lib/core/logger.js";
import { warnOnce } from "../../lib/core/warn.js";

afterEach(() => {
  setLogger(null);
  vi.restoreAllMocks();
});

describe("setLogger", () => {
  test("sends warnings to the logger, as its method, and back to the process", () => {
    const emitted = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    class Log {
      readonly lines: string[] = [];
      warn(message: string) {
        this.lines.push(message);
      }
    }
    const log = new Log();
    setLogger(log);
    warnOnce("to the logger");
    expect(log.lines).toEqual(["to the logger"]);
    expect(emitted).not.toHaveBeenCalled();
    setLogger(null);
    warnOnce("to the process");
    expect(log.lines).toHaveLength(1);
    expect(emitted).toHaveBeenCalledWith("to the process", { type: "InstructPix2PixWarning" });
  });

  test("a logger that fails fails nothing else", async () => {
    const unhandled = vi.fn();
    process.on("unhandledRejection", unhandled);
    try {
      setLogger({
        warn() {
          throw new Error("full");
        },
      });
      expect(() => warnOnce("lost")).not.toThrow();
      setLogger({ warn: () => Promise.reject(new Error("closed")) });
      expect(() => warnOnce("lost as well")).not.toThrow();
      await new Promise(setImmediate);
      expect(unhandled).not.toHaveBeenCalled();
    } finally {
      process.off("unhandledRejection", unhandled);
    }
  });

  test.each([undefined, "console", {}, () => {}])("refuses %s", (logger) => {
    expect(() => setLogger(logger as never)).toThrow(
      expect.objectContaining({ code: "ERR_INVALID_ARGUMENT", message: expect.stringMatching(/^logger must be/) }),
    );
  });
});
