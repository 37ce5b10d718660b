/** The work of a decoder, as it is handed to this process or to a child. Structured-cloneable. */

/** The formats that may reach a decoder. */
export type Input = "png" | "jpeg" | "webp" | "gif" | "avif"

/** The picture to write: exactly `width` × `height` pixels. */
export interface Output {
  readonly width: number
  readonly height: number
  readonly fit: "cover" | "contain"
  readonly format: "png" | "jpeg" | "webp"
  /** Replaces transparency, and fills the bars of `contain`. */
  readonly background: string | undefined
}

export interface Job {
  readonly path: string
  /** The pixels that were admitted: a decoder that finds more refuses the image. */
  readonly pixels: number
  readonly failOn: "error" | "warning"
  /** Without it, the image is decoded and dropped. */
  readonly output: Output | undefined
}

export type Reply =
  | { readonly _tag: "Decoded"; readonly bytes: Uint8Array }
  | { readonly _tag: "Undecodable" }
  /** The job itself is wrong. */
  | { readonly _tag: "Defect"; readonly message: string }

export const undecodable: Reply = { _tag: "Undecodable" }

/** The first message of a child. */
export const ready = "ready"

/** A child's message before the reply: it has got the job. */
export const started = "started"
