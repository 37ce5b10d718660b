/**
 * Checks of the options that a program gives. An option that makes no sense is a mistake in the program: a defect with a
 * message, where the option is given.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"

/** Throws the defect for the first problem, if there is one. */
export const check = (owner: string, ...problems: ReadonlyArray<string | undefined>): void => {
  const problem = problems.find((problem) => problem !== undefined)
  if (problem !== undefined) throw new Cause.IllegalArgumentException(`${owner}: ${problem}`)
}

/** `Duration.decode` makes zero of `NaN` and of everything negative. */
const isNegativeOrNaN = (input: unknown): boolean =>
  typeof input === "number" || typeof input === "bigint"
    ? !(input >= 0)
    : typeof input === "string"
    ? input.trimStart().startsWith("-")
    : Array.isArray(input) && input.some((part) => !(part >= 0))

const decode = (input: unknown): Duration.Duration | undefined =>
  isNegativeOrNaN(input) ? undefined : Option.getOrUndefined(Duration.decodeUnknown(input))

/** The problem of a duration that may be zero. */
export const durationProblem = (name: string, input: unknown): string | undefined =>
  input === undefined || decode(input) !== undefined
    ? undefined
    : `${name} must be a duration that is not negative, such as "30 seconds"`

/** The problem of a duration that must not be zero. */
export const timeoutProblem = (name: string, input: unknown, least?: Duration.Duration): string | undefined => {
  if (input === undefined) return undefined
  const duration = decode(input)
  if (duration === undefined || Duration.equals(duration, Duration.zero)) {
    return `${name} must be a duration above zero, such as "30 seconds"`
  }
  return least !== undefined && Duration.lessThan(duration, least)
    ? `${name} must be at least ${Duration.format(least)}`
    : undefined
}

/** The problem of a number of bytes or files, which may be `Infinity`. */
export const sizeProblem = (name: string, input: unknown): string | undefined =>
  input === undefined || (typeof input === "number" && input >= 0)
    ? undefined
    : `${name} must be a number that is not negative`

export const functionProblem = (name: string, input: unknown): string | undefined =>
  typeof input === "function" ? undefined : `${name} must be a function`

/** The problem of a text that must not be empty. */
export const textProblem = (name: string, input: unknown): string | undefined =>
  input === undefined || (typeof input === "string" && input !== "") ? undefined : `${name} must not be empty`
