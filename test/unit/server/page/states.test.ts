import { assert, describe, it } from "@effect/vitest"
import type { ImageDescription } from "../../../../src/browser/promise.js"
import {
  errorOf,
  type Event,
  type Held,
  heldOf,
  picturesOf,
  sessionOf,
  type State,
  transition,
  type Upload
} from "../../../../src/server/page/states.js"
import { view } from "../../../../src/server/page/views.js"
import { refusal } from "../../../../src/server/page/words.js"

const pictureOf = (name: string) => ({ file: new File(["12345678"], name), url: `blob:${name}` })

const imageOf = (name: string): ImageDescription => ({
  mime: "image/png",
  display_name: name,
  bytes: 8,
  width: 2,
  height: 1,
  orientation: 1,
  upright_width: 2,
  upright_height: 1
})

const first = pictureOf("first.png")
const second = pictureOf("second.png")
const third = pictureOf("third.png")

const held: Held = { picture: first, image: imageOf("first.png"), milliseconds: 5 }
const heldLate: Held = { picture: second, image: imageOf("second.png"), milliseconds: 7 }
const opening: Upload = { id: 1, picture: first, received: 0 }
const replacement: Upload = { id: 2, picture: second, received: 4 }
const session = "session"
const truncated = refusal({ _tag: "MalformedImage", reason: "Truncated" }, second.file)
const closed = { _tag: "SocketClosed", code: 1006 }
const busy = refusal({ _tag: "Busy", retryable: true }, second.file)

/** A state of each kind. */
const states = {
  none: { name: "none" },
  "none after a cancellation": { name: "none", cancelled: first },
  connecting: { name: "connecting", session, upload: opening },
  sending: { name: "sending", session, upload: opening },
  checking: { name: "checking", session, upload: { ...opening, received: 8 } },
  open: { name: "open", session, held, since: "opened" },
  "open with another picture": { name: "open", session, held, since: "replaced" },
  "open after a cancellation": { name: "open", session, held, since: "cancelled" },
  replacing: { name: "replacing", session, held, upload: replacement },
  "refused without a session": { name: "refused", picture: second, refusal: truncated },
  "refused in a session": { name: "refused", picture: second, refusal: truncated, kept: { session, held } },
  "refused for now": { name: "refused", picture: second, refusal: busy },
  "refused for now in a session": { name: "refused", picture: second, refusal: busy, kept: { session, held } },
  lost: { name: "lost", picture: first, wasConnected: true, error: closed },
  "without a connection": { name: "lost", picture: first, wasConnected: false, error: closed },
  ended: { name: "ended", session, picture: first, deletion: "pending" },
  "ended and deleted": { name: "ended", session, picture: first, deletion: "done" },
  "ended, not deleted": { name: "ended", session, picture: first, deletion: "failed" },
  "ended, without an answer": { name: "ended", session, picture: first, deletion: "unknown" }
} satisfies Record<string, State>

type Name = keyof typeof states
const names = Object.keys(states) as Array<Name>

const events = {
  chosen: { type: "chosen", upload: 3, session: "new session", picture: third },
  connected: { type: "connected", session },
  "progressed of the first picture": { type: "progressed", upload: 1, received: 5, bytesPerSecond: 10 },
  "progressed to the end of the first picture": { type: "progressed", upload: 1, received: 8 },
  "progressed of the replacement": { type: "progressed", upload: 2, received: 5 },
  "accepted the first picture": { type: "accepted", upload: 1, image: imageOf("first.png"), milliseconds: 9 },
  "accepted the replacement": { type: "accepted", upload: 2, image: imageOf("second.png"), milliseconds: 9 },
  "accepted a picture late": { type: "accepted late", session, held: heldLate },
  "accepted a picture late in another session": { type: "accepted late", session: "old session", held: heldLate },
  "refused the first picture": { type: "refused", upload: 1, refusal: truncated },
  "refused the replacement": { type: "refused", upload: 2, refusal: truncated },
  cancelled: { type: "cancelled" },
  closed: { type: "closed", session, error: closed },
  "closed another session": { type: "closed", session: "old session", error: closed },
  ended: { type: "ended" },
  deleted: { type: "deleted", session, deletion: "done" },
  "deleted another session": { type: "deleted", session: "old session", deletion: "failed" }
} satisfies Record<string, Event>

type EventName = keyof typeof events
const eventNames = Object.keys(events) as Array<EventName>

const newSession: State = { name: "connecting", session: "new session", upload: { id: 3, picture: third, received: 0 } }
const replacingByThird: State = { name: "replacing", session, held, upload: { id: 3, picture: third, received: 0 } }

const idle = new Set(names.filter((name) => sessionOf(states[name]) === undefined))
const withPicture = new Set(names.filter((name) => heldOf(states[name]) !== undefined))
const opens = new Set<Name>(["connecting", "sending", "checking"])

/** The next state. An event that is not of the state's session or upload leaves it as it is. */
const expected = (name: Name, event: EventName): State => {
  const state: State = states[name]
  const isOpening = opens.has(name)
  const isReplacing = name === "replacing"
  switch (event) {
    case "chosen":
      return withPicture.has(name) ? replacingByThird : newSession
    case "progressed of the first picture":
      return isOpening
        ? { name: "sending", session, upload: { ...opening, received: 5, bytesPerSecond: 10 } }
        : state
    case "progressed to the end of the first picture":
      return isOpening
        ? { name: "checking", session, upload: { ...opening, received: 8, bytesPerSecond: undefined } }
        : state
    case "progressed of the replacement":
      return isReplacing
        ? { name: "replacing", session, held, upload: { ...replacement, received: 5, bytesPerSecond: undefined } }
        : state
    case "accepted the first picture":
      return isOpening ? { name: "open", session, held: { ...held, milliseconds: 9 }, since: "opened" } : state
    case "accepted the replacement":
      return isReplacing
        ? {
          name: "open",
          session,
          held: { picture: second, image: imageOf("second.png"), milliseconds: 9 },
          since: "replaced"
        }
        : state
    case "accepted a picture late":
      return isReplacing
        ? { ...states.replacing, held: heldLate }
        : state.name === "refused" && state.kept !== undefined
        ? { ...state, kept: { session, held: heldLate } }
        : state.name === "open"
        ? { name: "open", session, held: heldLate, since: "replaced" }
        : state
    case "refused the first picture":
      return isOpening ? { name: "refused", picture: first, refusal: truncated, kept: undefined } : state
    case "refused the replacement":
      return isReplacing
        ? { name: "refused", picture: second, refusal: truncated, kept: { session, held } }
        : state
    case "cancelled":
      return isOpening
        ? { name: "none", cancelled: first }
        : isReplacing
        ? { name: "open", session, held, since: "cancelled" }
        : state
    case "closed":
      return idle.has(name)
        ? state
        : { name: "lost", picture: isReplacing ? second : first, wasConnected: name !== "connecting", error: closed }
    case "ended":
      return withPicture.has(name) && !isReplacing
        ? { name: "ended", session, picture: first, deletion: "pending" }
        : state
    case "deleted":
      return state.name === "ended" ? { ...state, deletion: "done" } : state
    case "connected":
      return name === "connecting" ? { name: "sending", session, upload: opening } : state
    default:
      return state
  }
}

describe("the states of the page", () => {
  for (const name of names) {
    it(`answer every event from "${name}"`, () => {
      for (const event of eventNames) {
        assert.deepStrictEqual(transition(states[name], events[event]), expected(name, event), event)
      }
    })
  }

  it("keep a hint until the next picture or answer", () => {
    for (const name of names) {
      const state: State = states[name]
      const hinted = transition(state, { type: "hinted", hint: "Not a file" })
      assert.deepStrictEqual<State>(hinted, { ...state, hint: "Not a file" })
      assert.strictEqual(view(hinted).hint, "Not a file")
      assert.strictEqual(transition(hinted, events.chosen).hint, undefined)
    }
    const sending = transition(states.sending, { type: "hinted", hint: "Not a file" })
    assert.strictEqual(transition(sending, events["progressed of the first picture"]).hint, "Not a file")
    assert.strictEqual(transition(sending, events["accepted the first picture"]).hint, undefined)
  })

  it("have an error while a picture is refused or the connection is lost, and no longer", () => {
    for (const name of names) {
      const state: State = states[name]
      const expected = state.name === "refused" ? state.refusal.error : state.name === "lost" ? closed : undefined
      assert.strictEqual(errorOf(state), expected, name)
    }
  })

  it("have every picture that is shown, and no other", () => {
    for (const name of names) {
      const { inset, shown } = view(states[name]).stage
      const pictures = picturesOf(states[name]).map(({ url }) => url)
      for (const picture of [inset, shown]) {
        if (picture !== undefined) assert.include(pictures, picture.picture.url, name)
      }
    }
    assert.deepStrictEqual(picturesOf(states.none), [])
    assert.deepStrictEqual(picturesOf(states.replacing), [first, second])
    assert.deepStrictEqual(picturesOf(states["open after a cancellation"]), [first])
    assert.deepStrictEqual(picturesOf(states.lost), [first])
  })
})

/** Session, title, text, controls, and the marks of the picture and the one beside it. */
type Seen = readonly [session: string, title: string, text: string, controls: string, marks?: string]

const seen: Record<Name, Seen> = {
  none: [
    "No session",
    "No picture yet",
    "Choose one, and the server opens a session with it.",
    "Choose a picture, Take a photo"
  ],
  "none after a cancellation": [
    "No session",
    "Cancelled",
    "The server kept nothing of “first.png”.",
    "Choose a picture, Take a photo"
  ],
  connecting: ["Opening", "Connecting to the server", "", "Cancel", ""],
  sending: ["Opening", "Sending “first.png”", "", "Cancel", ""],
  checking: ["Opening", "Checking “first.png”", "", "Cancel", ""],
  open: [
    "Session open",
    "The session is open",
    "The server keeps “first.png” until you end the session or leave this page.",
    "Replace, End the session",
    ""
  ],
  "open with another picture": [
    "Session open",
    "The picture is replaced",
    "The session now has “first.png”.",
    "Replace, End the session",
    ""
  ],
  "open after a cancellation": [
    "Session open",
    "Cancelled",
    "Your session still has “first.png”.",
    "Replace, End the session",
    ""
  ],
  replacing: [
    "Session open",
    "Sending “second.png”",
    "Until it is accepted, your session has “first.png”.",
    "Cancel",
    ", In the session"
  ],
  "refused without a session": [
    "No session",
    "! “second.png” is not complete",
    "Its end is missing. Copy or download it again, or choose another picture.",
    "Choose another, Take a photo",
    "Not accepted"
  ],
  "refused in a session": [
    "Session open",
    "! “second.png” is not complete",
    "Its end is missing. Copy or download it again, or choose another picture. Your session still has “first.png”.",
    "Choose another, End the session",
    "In the session, Not accepted"
  ],
  "refused for now": [
    "No session",
    "! The server is full at the moment",
    "“second.png” was not stored. Try again in a minute.",
    "Try again, Choose another",
    "Not accepted"
  ],
  "refused for now in a session": [
    "Session open",
    "! The server is full at the moment",
    "“second.png” was not stored. Try again in a minute. Your session still has “first.png”.",
    "Try again, End the session",
    "In the session, Not accepted"
  ],
  lost: [
    "Connection lost",
    "! The connection was lost",
    "The session has ended with it. You can send “first.png” again.",
    "Send it again, Choose another",
    "Not in a session"
  ],
  "without a connection": [
    "No connection",
    "! The server cannot be reached",
    "Check your connection. “first.png” was not sent.",
    "Send it again, Choose another",
    "Not in a session"
  ],
  ended: [
    "Session ended",
    "The session has ended",
    "The server is deleting the picture.",
    "Choose a picture, Take a photo",
    "Session ended"
  ],
  "ended and deleted": [
    "Session ended",
    "The session has ended",
    "The server has deleted the picture.",
    "Choose a picture, Take a photo",
    "Deleted from the server"
  ],
  "ended, not deleted": [
    "Session ended",
    "! The session has ended",
    "Its picture is still on the server for the moment.",
    "Choose a picture, Take a photo",
    "Session ended"
  ],
  "ended, without an answer": [
    "Session ended",
    "The session has ended",
    "The server did not answer whether the picture is deleted.",
    "Choose a picture, Take a photo",
    "Session ended"
  ]
}

const after = (...sequence: ReadonlyArray<Event>): State => sequence.reduce<State>(transition, states.replacing)

describe("late answers", () => {
  const late = events["accepted a picture late"]
  const refused: Event = { type: "refused", upload: 3, refusal: truncated }
  const acceptedThird: Event = { type: "accepted", upload: 3, image: imageOf("third.png"), milliseconds: 9 }
  const fourth: Event = { ...events.chosen, upload: 4 }

  it("leave a refusal with the picture that the server has, before and after it", () => {
    const expected: State = { name: "refused", picture: third, refusal: truncated, kept: { session, held: heldLate } }
    for (
      const sequence of [
        [events.cancelled, events.chosen, late, refused],
        [events.cancelled, events.chosen, refused, late],
        [events.chosen, late, refused],
        [events.chosen, refused, late]
      ]
    ) {
      const state = after(...sequence)
      assert.deepStrictEqual(state, expected)
      assert.include(view(state).message.text, "Your session still has “second.png”.")
    }
  })

  it("apply in order, the last one at the end", () => {
    const heldThird: Held = { picture: third, image: imageOf("third.png"), milliseconds: 8 }
    const lateThird: Event = { type: "accepted late", session, held: heldThird }
    const cancelledTwice = [events.cancelled, events.chosen, events.cancelled] as const
    assert.strictEqual(heldOf(after(...cancelledTwice, late)), heldLate)
    assert.strictEqual(heldOf(after(...cancelledTwice, late, lateThird)), heldThird)
    assert.strictEqual(heldOf(after(...cancelledTwice, fourth, late, lateThird)), heldThird)
    assert.strictEqual(heldOf(after(events.chosen, late, acceptedThird))?.picture, third)
  })

  it("change nothing once the session has ended or is lost", () => {
    for (const event of [events.ended, events.closed]) {
      const state = after(events.cancelled, event)
      assert.strictEqual(transition(state, late), state)
    }
  })
})

describe("the page's views", () => {
  for (const name of names) {
    it(`show one message and its controls in "${name}"`, () => {
      const { controls, detail, message, progress, session, stage } = view(states[name])
      const marks = [stage.shown, stage.inset].flatMap((shown) => shown === undefined ? [] : [shown.mark])
      const [label, title, text, labels, expectedMarks] = seen[name]
      assert.deepStrictEqual(
        [
          session.label,
          `${message.isAlert ? "! " : ""}${message.title}`,
          message.text,
          Object.values(controls).join(", ")
        ],
        [label, title, text, labels]
      )
      assert.strictEqual(stage.shown === undefined ? undefined : marks.join(", "), expectedMarks)
      assert.isAtMost(Object.keys(controls).length, 2)
      assert.strictEqual(progress !== undefined, "upload" in states[name])
      assert.strictEqual(detail.facts, heldOf(states[name]))
    })
  }

  it("say that the old picture is checked until the new one is accepted", () => {
    const { message, progress } = view({ ...states.replacing, upload: { ...replacement, received: 8 } })
    assert.strictEqual(message.title, "Checking “second.png”")
    assert.strictEqual(progress?.label, "Checking")
  })
})
