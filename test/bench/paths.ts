/** The benchmark is compiled together with the library into a `dist` beside its own sources. */
import * as path from "node:path"

/** Where `src` and `test` lie, compiled. */
export const compiled = path.resolve(import.meta.dirname, "../..")

/** The benchmark's own sources. */
export const sources = path.resolve(compiled, "..")

export const root = path.resolve(sources, "../..")
