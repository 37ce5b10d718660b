/// <reference lib="dom" />
/**
 * The page's script: events change the state, and the page shows the state. It has one session at a time; the first
 * picture that is sent opens it.
 */
import { fromBlob, send, type SendError, SocketClosed } from "../../browser/promise.js"
import { detectBytes } from "../../internal/format/signature.js"
import { controls, maxBytes, ui } from "./elements.js"
import * as gestures from "./gestures.js"
import * as log from "./log.js"
import { makeRate } from "./rate.js"
import { render } from "./render.js"
import { connect, imageUrl, isDeleted, makeId, type Session } from "./session.js"
import { errorOf, type Event, initial, picturesOf, sessionOf, type State, transition, uploadOf } from "./states.js"
import { view } from "./views.js"
import * as words from "./words.js"

let state: State = initial
let session: Session | undefined
/** Aborts the upload of the state. */
let uploading: AbortController | undefined
let uploads = 0

const renderState = () => {
  render(view(state), imageUrl(sessionOf(state) ?? ""))
  log.setError(errorOf(state))
}

/** Changes the state, and ends the object URLs, the upload and the session that the new state no longer has. */
const dispatch = (event: Event) => {
  const previous = state
  state = transition(previous, event)
  const pictures = picturesOf(state)
  for (const picture of picturesOf(previous)) {
    if (!pictures.includes(picture)) URL.revokeObjectURL(picture.url)
  }
  if (uploadOf(state)?.id !== uploadOf(previous)?.id) uploading?.abort()
  if (session !== undefined && sessionOf(state) !== session.id) {
    void session.close()
    session = undefined
  }
  renderState()
}

const open = (id: string): Session => {
  const opened = connect(id, {
    onOpen: () => {
      log.noted("open")
      dispatch({ type: "connected", session: id })
    },
    onSent: log.sent,
    onReceived: log.received,
    onClose: ({ code, reason }) => {
      log.noted(`close ${code} ${reason}`.trim())
      // During an upload, `send` reports the close.
      if (uploadOf(state) !== undefined || sessionOf(state) !== id) return
      dispatch({ type: "closed", session: id, error: toJson(new SocketClosed({ code, reason })) })
    }
  })
  log.start(opened.url)
  return opened
}

/** Encodes an error of `send` as the server encodes its own. */
const toJson = (error: SendError): words.ErrorJson => {
  if (error._tag === "ServerError") {
    const { code, details, message, retryable } = error
    return { type: "error", code, message, retryable, ...details }
  }
  const { name: _, ...fields } = error
  return { ...fields, message: error.message }
}

/** Rejects a file by its size and first bytes, with the errors of `send`. */
const check = (file: File, signal: AbortSignal) =>
  fromBlob(file.size > maxBytes ? file : file.slice(0, detectBytes), { maxBytes, signal })

/** Sends a file in place of the upload in progress. */
const start = async (file: File): Promise<void> => {
  const id = ++uploads
  const controller = new AbortController()
  const picture = { file, url: URL.createObjectURL(file) }
  const startedAt = performance.now()
  log.setRequest(file)
  dispatch({ type: "chosen", upload: id, session: makeId(), picture })
  const target = sessionOf(state)
  if (target === undefined) return
  uploading = controller
  const type = state.name === "replacing" ? "init_image_updated" : "session_init_v2"
  const rate = makeRate()
  // Without a type, the bytes decide: a wrong file extension is no reason to refuse a picture.
  const untyped = new File([file], file.name)
  try {
    if (session === undefined) {
      await check(untyped, controller.signal)
      session = open(target)
    }
    const image = await send(session.socket, untyped, {
      type,
      maxBytes,
      signal: controller.signal,
      onProgress: ({ received }) => {
        const bytesPerSecond = rate({ milliseconds: performance.now(), received })
        dispatch({ type: "progressed", upload: id, received, bytesPerSecond })
      },
      onAcceptedLate: (image) => {
        if (sessionOf(state) !== target) return
        const milliseconds = performance.now() - startedAt
        // The abort has revoked the picture's URL.
        const late = { file, url: URL.createObjectURL(file) }
        dispatch({ type: "accepted late", session: target, held: { picture: late, image, milliseconds } })
      }
    })
    dispatch({ type: "accepted", upload: id, image, milliseconds: performance.now() - startedAt })
  } catch (reason) {
    if (controller.signal.aborted) return
    // Without an abort, `send` rejects with a `SendError`.
    const error = reason as SendError
    const json = toJson(error)
    if (error._tag !== "ServerError" && error._tag !== "SocketClosed") log.noted(`not sent: ${error._tag}`)
    if (error._tag === "SocketClosed") dispatch({ type: "closed", session: target, error: json })
    else dispatch({ type: "refused", upload: id, refusal: words.refusal(json, file) })
  }
}

const end = async (ended: Session): Promise<void> => {
  const closed = ended.close()
  dispatch({ type: "ended" })
  await closed
  const deletion = await isDeleted(ended.id).then((done) => done ? "done" : "failed", () => "unknown" as const)
  dispatch({ type: "deleted", session: ended.id, deletion })
}

controls.cancel.addEventListener("click", () => dispatch({ type: "cancelled" }))
controls.end.addEventListener("click", () => {
  if (session !== undefined) void end(session)
})
controls.retry.addEventListener("click", () => {
  if ("picture" in state) void start(state.picture.file)
})
gestures.listen({
  onFile: (file) => void start(file),
  onHint: (hint) => dispatch({ type: "hinted", hint })
})
ui.limit.textContent = words.limit(maxBytes)
renderState()
