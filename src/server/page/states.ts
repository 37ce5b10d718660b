/**
 * The states of the page. `transition` is the table of events, and the page shows its state through the table in
 * `views.ts` alone.
 */
import type { ImageDescription } from "../../browser/promise.js"
import type { ErrorJson, Refusal } from "./words.js"

export interface Picture {
  readonly file: File
  /** An object URL of the file. */
  readonly url: string
}

/** The picture that the server holds. */
export interface Held {
  readonly picture: Picture
  readonly image: ImageDescription
  readonly milliseconds: number
}

export interface Upload {
  readonly id: number
  readonly picture: Picture
  readonly received: number
  readonly bytesPerSecond?: number | undefined
}

interface Named<Name extends string> {
  readonly name: Name
  /** Answers a gesture that changes nothing, such as the paste of a text. Shown until a picture is chosen or answered. */
  readonly hint?: string
}

interface InSession<Name extends string> extends Named<Name> {
  readonly session: string
}

export interface None extends Named<"none"> {
  readonly cancelled?: Picture
}

/** The first picture of a session is on its way. */
export interface Opening extends InSession<"connecting" | "sending" | "checking"> {
  readonly upload: Upload
}

export interface Open extends InSession<"open"> {
  readonly held: Held
  readonly since: "opened" | "replaced" | "cancelled"
}

/** Another picture is on its way, and the session has `held` until it is accepted. */
export interface Replacing extends InSession<"replacing"> {
  readonly held: Held
  readonly upload: Upload
}

export interface Refused extends Named<"refused"> {
  readonly picture: Picture
  readonly refusal: Refusal
  /** The session that goes on with its picture; absent if the first picture was refused. */
  readonly kept?: { readonly session: string; readonly held: Held } | undefined
}

export interface Lost extends Named<"lost"> {
  /** The picture to send again. */
  readonly picture: Picture
  readonly wasConnected: boolean
  readonly error: ErrorJson
}

export interface Ended extends InSession<"ended"> {
  readonly picture: Picture
  readonly deletion: "pending" | "done" | "failed" | "unknown"
}

export type State = None | Opening | Open | Replacing | Refused | Lost | Ended

export type Event =
  /** `session` is the id of a new session, for a state without one. */
  | { readonly type: "chosen"; readonly upload: number; readonly session: string; readonly picture: Picture }
  | { readonly type: "connected"; readonly session: string }
  | {
    readonly type: "progressed"
    readonly upload: number
    readonly received: number
    readonly bytesPerSecond?: number | undefined
  }
  | {
    readonly type: "accepted"
    readonly upload: number
    readonly image: ImageDescription
    readonly milliseconds: number
  }
  /** The server has accepted a replacement that had been cancelled, or followed by another one, after its last byte. */
  | { readonly type: "accepted late"; readonly session: string; readonly held: Held }
  | { readonly type: "refused"; readonly upload: number; readonly refusal: Refusal }
  | { readonly type: "cancelled" }
  | { readonly type: "closed"; readonly session: string; readonly error: ErrorJson }
  | { readonly type: "ended" }
  | { readonly type: "deleted"; readonly session: string; readonly deletion: "done" | "failed" | "unknown" }
  | { readonly type: "hinted"; readonly hint: string }

export const initial: State = { name: "none" }

/** The session's id, in the states with a session. */
export const sessionOf = (state: State): string | undefined =>
  state.name === "refused"
    ? state.kept?.session
    : "session" in state && state.name !== "ended"
    ? state.session
    : undefined

/** The picture that the server holds, in the states with one. */
export const heldOf = (state: State): Held | undefined =>
  state.name === "refused" ? state.kept?.held : "held" in state ? state.held : undefined

export const uploadOf = (state: State): Upload | undefined => "upload" in state ? state.upload : undefined

/** Why the picture was not accepted, or the connection lost. */
export const errorOf = (state: State): ErrorJson | undefined =>
  state.name === "refused" ? state.refusal.error : state.name === "lost" ? state.error : undefined

/** The pictures in a state; the object URLs of others can be revoked. */
export const picturesOf = (state: State): ReadonlyArray<Picture> =>
  [
    heldOf(state)?.picture,
    uploadOf(state)?.picture,
    "picture" in state ? state.picture : undefined,
    state.name === "none" ? state.cancelled : undefined
  ].filter((picture) => picture !== undefined)

const chosen = (state: State, { picture, session, upload: id }: Event & { readonly type: "chosen" }): State => {
  const held = heldOf(state)
  const current = sessionOf(state)
  const upload = { id, picture, received: 0 }
  return held !== undefined && current !== undefined
    ? { name: "replacing", session: current, held, upload }
    : { name: "connecting", session, upload }
}

const progressed = (state: Opening | Replacing, event: Event & { readonly type: "progressed" }): State => {
  const { bytesPerSecond, received } = event
  const upload = { ...state.upload, received, bytesPerSecond }
  return state.name === "replacing"
    ? { ...state, upload }
    : { ...state, upload, name: received >= upload.picture.file.size ? "checking" : "sending" }
}

const accepted = (state: State, event: Event & { readonly type: "accepted" }): State => {
  const { image, milliseconds, upload: id } = event
  if (!("upload" in state) || state.upload.id !== id) return state
  const since = state.name === "replacing" ? "replaced" : "opened"
  return { name: "open", session: state.session, held: { picture: state.upload.picture, image, milliseconds }, since }
}

/** Puts another picture in the session. An upload or a refusal goes on with it. */
const acceptedLate = (state: State, { held, session }: Event & { readonly type: "accepted late" }): State => {
  if (sessionOf(state) !== session) return state
  switch (state.name) {
    case "open":
      return { name: "open", session, held, since: "replaced" }
    case "replacing":
      return { ...state, held }
    case "refused":
      return { ...state, kept: { session, held } }
    default:
      return state
  }
}

const lost = (state: State, error: ErrorJson): State => {
  const picture = uploadOf(state)?.picture ?? heldOf(state)?.picture
  return picture === undefined ? state : { name: "lost", picture, wasConnected: state.name !== "connecting", error }
}

/** Answers an event with the next state. Events of abandoned uploads and sessions change nothing. */
export const transition = (state: State, event: Event): State => {
  switch (event.type) {
    case "chosen":
      return chosen(state, event)
    case "connected":
      return state.name === "connecting" && state.session === event.session ? { ...state, name: "sending" } : state
    case "progressed":
      return "upload" in state && state.upload.id === event.upload ? progressed(state, event) : state
    case "accepted":
      return accepted(state, event)
    case "accepted late":
      return acceptedLate(state, event)
    case "refused": {
      if (!("upload" in state) || state.upload.id !== event.upload) return state
      const kept = state.name === "replacing" ? { session: state.session, held: state.held } : undefined
      return { name: "refused", picture: state.upload.picture, refusal: event.refusal, kept }
    }
    case "cancelled":
      return state.name === "replacing"
        ? { name: "open", session: state.session, held: state.held, since: "cancelled" }
        : "upload" in state
        ? { name: "none", cancelled: state.upload.picture }
        : state
    case "closed":
      return sessionOf(state) === event.session ? lost(state, event.error) : state
    case "ended": {
      const session = sessionOf(state)
      const held = heldOf(state)
      return session === undefined || held === undefined || "upload" in state
        ? state
        : { name: "ended", session, picture: held.picture, deletion: "pending" }
    }
    case "deleted":
      return state.name === "ended" && state.session === event.session ? { ...state, deletion: event.deletion } : state
    case "hinted":
      return { ...state, hint: event.hint }
  }
}
