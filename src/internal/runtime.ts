/** The runtimes that imitate Node, where they differ from it. */

export const isBun = "bun" in process.versions

export const isDeno = "deno" in process.versions
