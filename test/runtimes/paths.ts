/** Paths of the compiled files, which are in `dist` below this folder. */
import { resolve } from "node:path"

/** The compiled modules of this folder. */
export const compiled = import.meta.dirname

/** The root of the repository. */
export const root = resolve(compiled, "../../../../..")
