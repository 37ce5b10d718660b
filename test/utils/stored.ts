/** Images to store, and checks of what is fetched. */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import type * as Path from "@effect/platform/Path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { InitImageError } from "../../src/InitImageError.js"
import * as SessionInitImage from "../../src/SessionInitImage.js"
import { pngOfSize } from "./images.js"

/** A PNG of `size` bytes in a file of the scope. Images of different `fill` differ in every byte of their padding. */
export const makeImage = (
  size: number,
  { fill = 0, name = "ref.png" }: { readonly fill?: number; readonly name?: string } = {}
): Effect.Effect<
  SessionInitImage.SessionInitImage,
  InitImageError | PlatformError,
  FileSystem.FileSystem | Path.Path | Scope.Scope
> => SessionInitImage.persistStreamScoped({ mime: "image/png", name }, Stream.succeed(filled(size, fill)))

/** Bytes after the end of a PNG are part of its file. */
const filled = (size: number, fill: number): Uint8Array => {
  const head = pngOfSize(100)
  const bytes = new Uint8Array(size).fill(fill)
  bytes.set(head)
  return bytes
}

export const bytesOf = ({ path }: SessionInitImage.SessionInitImage) =>
  Effect.flatMap(FileSystem.FileSystem, (fs) => fs.readFile(path))
