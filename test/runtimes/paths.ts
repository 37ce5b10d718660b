/** This is compiled, together with the types of the library, into a `dist` beside its own sources. */
import { resolve } from "node:path"

/** Where the compiled modules of this folder lie. */
export const compiled = import.meta.dirname

/** The repository. */
export const root = resolve(compiled, "../../../../..")
