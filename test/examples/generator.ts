/** Stands in for a model that opens an image by its path. */
import type { PlatformError } from "@effect/platform/Error"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { SessionInitImage } from "session-init-image"

export const Clip = Schema.Struct({ prompt: Schema.String, width: Schema.Number, height: Schema.Number })

export interface GeneratorService {
  /** Generates a clip that begins with the image. */
  readonly generate: (
    image: SessionInitImage.SessionInitImage,
    prompt: string
  ) => Effect.Effect<typeof Clip.Type, PlatformError>
}

export class Generator extends Context.Tag("example/Generator")<Generator, GeneratorService>() {}

/** Only checks that the file exists. */
export const layer = Layer.effect(
  Generator,
  Effect.map(FileSystem.FileSystem, (fs) => ({
    generate: ({ height, path, width }, prompt) => Effect.as(fs.access(path), { prompt, width, height })
  }))
)
