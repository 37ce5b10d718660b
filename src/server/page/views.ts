/** What the page shows in each state. */
import type { Held, Picture, State, Upload } from "./states.js"
import { quoted } from "./words.js"

export interface View {
  /** The session in the page's header. */
  readonly session: { readonly label: string; readonly tone: "idle" | "busy" | "open" | "bad" }
  readonly message: { readonly isAlert: boolean; readonly title: string; readonly text: string }
  readonly hint: string
  readonly stage: {
    readonly shown?: Shown
    /** A second picture, in the corner of the first. */
    readonly inset?: Shown
    /** What the stage does as a button, for a screen reader; it says so itself while it is empty. */
    readonly action: string
  }
  readonly progress?: { readonly label: string; readonly upload: Upload }
  /** The description of the server's picture, or else the steps to it. */
  readonly detail: { readonly facts?: Held; readonly step?: Step }
  /** The labels of the controls that the state has: at most two, which is what a phone has room for. */
  readonly controls: Controls
}

export interface Shown {
  readonly picture: Picture
  readonly look: "plain" | "pending" | "gone" | "refused"
  readonly mark: string
}

export type Step = "connect" | "send" | "check"

export interface Controls {
  readonly retry?: string
  readonly choose?: string
  readonly photo?: string
  readonly cancel?: string
  readonly end?: string
}

const choose = { choose: "Choose a picture", photo: "Take a photo" }
const cancel = { cancel: "Cancel" }
const end = { end: "End the session" }

const noSession = { label: "No session", tone: "idle" } as const
const openSession = { label: "Session open", tone: "open" } as const

const calm = (title: string, text = "") => ({ isAlert: false, title, text })
const alert = (title: string, text: string) => ({ isAlert: true, title, text })

const keeps = (held: Held) => `Your session still has ${quoted(held.picture.file)}.`

const opening = (state: State & { readonly name: "connecting" | "sending" | "checking" }): Omit<View, "hint"> => {
  const { name, upload } = state
  const labels = { connecting: "Connecting", sending: "Sending", checking: "Checking" } as const
  const steps = { connecting: "connect", sending: "send", checking: "check" } as const
  const file = quoted(upload.picture.file)
  return {
    session: { label: "Opening", tone: "busy" },
    message: calm(name === "connecting" ? "Connecting to the server" : `${labels[name]} ${file}`),
    stage: {
      shown: { picture: upload.picture, look: "pending", mark: "" },
      action: `Send another picture than ${file}`
    },
    progress: { label: labels[name], upload },
    detail: { step: steps[name] },
    controls: cancel
  }
}

const endings = {
  pending: ["The session has ended", "The server is deleting the picture."],
  done: ["The session has ended", "The server has deleted the picture."],
  failed: ["The session has ended", "Its picture is still on the server for the moment."],
  unknown: ["The session has ended", "The server did not answer whether the picture is deleted."]
} as const

const viewOf = (state: State): Omit<View, "hint"> => {
  switch (state.name) {
    case "none":
      return {
        session: noSession,
        message: state.cancelled === undefined
          ? calm("No picture yet", "Choose one, and the server opens a session with it.")
          : calm("Cancelled", `The server kept nothing of ${quoted(state.cancelled.file)}.`),
        stage: { action: "" },
        detail: {},
        controls: choose
      }
    case "connecting":
    case "sending":
    case "checking":
      return opening(state)
    case "open": {
      const { held } = state
      const file = quoted(held.picture.file)
      return {
        session: openSession,
        message: state.since === "cancelled"
          ? calm("Cancelled", keeps(held))
          : state.since === "replaced"
          ? calm("The picture is replaced", `The session now has ${file}.`)
          : calm("The session is open", `The server keeps ${file} until you end the session or leave this page.`),
        stage: { shown: { picture: held.picture, look: "plain", mark: "" }, action: `Replace ${file}` },
        detail: { facts: held },
        controls: { choose: "Replace", ...end }
      }
    }
    case "replacing": {
      const { held, upload } = state
      const isSent = upload.received >= upload.picture.file.size
      const label = isSent ? "Checking" : "Sending"
      const file = quoted(upload.picture.file)
      return {
        session: openSession,
        message: calm(`${label} ${file}`, `Until it is accepted, your session has ${quoted(held.picture.file)}.`),
        stage: {
          shown: { picture: upload.picture, look: "pending", mark: "" },
          inset: { picture: held.picture, look: "plain", mark: "In the session" },
          action: `Send another picture than ${file}`
        },
        progress: { label, upload },
        detail: { facts: held },
        controls: cancel
      }
    }
    case "refused": {
      const { kept, picture, refusal } = state
      const refused: Shown = { picture, look: "refused", mark: "Not accepted" }
      const retry = { retry: "Try again" }
      const chooseOther = { choose: "Choose another" }
      if (kept === undefined) {
        return {
          session: noSession,
          message: alert(refusal.title, refusal.text),
          stage: { shown: refused, action: "Choose another picture" },
          detail: {},
          controls: refusal.isRetryable ? { ...retry, ...chooseOther } : { ...chooseOther, photo: "Take a photo" }
        }
      }
      return {
        session: openSession,
        message: alert(refusal.title, `${refusal.text} ${keeps(kept.held)}`),
        stage: {
          shown: { picture: kept.held.picture, look: "plain", mark: "In the session" },
          inset: refused,
          action: "Choose another picture"
        },
        detail: { facts: kept.held },
        controls: { ...refusal.isRetryable ? retry : chooseOther, ...end }
      }
    }
    case "lost": {
      const file = quoted(state.picture.file)
      return {
        session: { label: state.wasConnected ? "Connection lost" : "No connection", tone: "bad" },
        message: state.wasConnected
          ? alert("The connection was lost", `The session has ended with it. You can send ${file} again.`)
          : alert("The server cannot be reached", `Check your connection. ${file} was not sent.`),
        stage: {
          shown: { picture: state.picture, look: "gone", mark: "Not in a session" },
          action: "Choose another picture"
        },
        detail: {},
        controls: { retry: "Send it again", choose: "Choose another" }
      }
    }
    case "ended": {
      const [title, text] = endings[state.deletion]
      return {
        session: { label: "Session ended", tone: "idle" },
        message: { isAlert: state.deletion === "failed", title, text },
        stage: {
          shown: {
            picture: state.picture,
            look: "gone",
            mark: state.deletion === "done" ? "Deleted from the server" : "Session ended"
          },
          action: "Choose a picture"
        },
        detail: {},
        controls: choose
      }
    }
  }
}

/** Answers what the page shows in a state: one message, one picture with at most one beside it, and the controls. */
export const view = (state: State): View => ({ ...viewOf(state), hint: state.hint ?? "" })
