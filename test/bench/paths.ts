/** The benchmark and the library are compiled into the `dist` beside the benchmark's sources. */
import * as path from "node:path"

/** The compiled `src` and `test`. */
export const compiled = path.resolve(import.meta.dirname, "../..")

/** The benchmark's sources. */
export const sources = path.resolve(compiled, "..")

export const root = path.resolve(sources, "../..")
