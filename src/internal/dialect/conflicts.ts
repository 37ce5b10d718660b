/**
 * Checks whether shapes can be one dialect. Runs in browsers too.
 */
import type { Alphabet } from "../../InitImagePayload.js"
import type { Path } from "../places.js"
import type { Options, Shape } from "./shape.js"

/** A problem of the options of a dialect of one shape. */
export const shapeProblem = ({ data }: Options): string | undefined =>
  data.length === 0
    ? "data must have a place"
    : data.length > 1 && data.some(({ at }) => at.length === 0)
    ? "data must have one place where the value is the text"
    : undefined

const isPrefix = (a: Path, b: Path): boolean => a.length < b.length && a.every((step, i) => step === b[i])

/** `JSON.parse` puts such keys first: the images would not be in the order of the message. */
const isWholeNumber = (step: Path[number]): boolean => typeof step === "string" && /^\d+$/.test(step)

const isSameText = (a: Shape, b: Shape): boolean =>
  a.data.some((text) => b.data.some((other) => text.at.join("\0") === other.at.join("\0")))

const isSameAlphabet = (a: Alphabet | undefined, b: Alphabet | undefined): boolean =>
  (["urlSafe", "unpadded", "whiteSpace"] as const).every((rule) => (a?.[rule] ?? false) === (b?.[rule] ?? false))

/** A conflict between the shapes of one dialect. */
export const joinProblem = (shapes: ReadonlyArray<Shape>): string | undefined =>
  shapes.some((a) => shapes.some((b) => isPrefix(a.at, b.at)))
    ? "the images of one dialect must not stand inside those of another"
    : shapes.some(({ at }) => at.some(isWholeNumber))
    ? "a key on the way to an image must not be a whole number"
    : shapes.some((a) => shapes.some((b) => isSameText(a, b) && !isSameAlphabet(a.alphabet, b.alphabet)))
    ? "one text must not be of two alphabets"
    : undefined
