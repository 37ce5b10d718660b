/// <reference lib="dom" />
/** The page's script. It has one session at a time; the first picture that is sent opens it. */
import { type ImageDescription, send, type SendError } from "../../browser/promise.js"
import { facts, ui } from "./elements.js"
import { imageUrl, isDeleted, makeId, untilClosed } from "./session.js"
import * as words from "./words.js"

interface Session {
  readonly id: string
  readonly socket: WebSocket
  /** Whether the server has accepted a first picture. */
  isOpen: boolean
}

interface Picture {
  readonly file: File
  /** An object URL of the file, to be revoked. */
  readonly url: string
}

interface VerifiedPicture extends Picture {
  readonly image: ImageDescription
  readonly milliseconds: number
}

interface Upload extends Picture {
  readonly controller: AbortController
  received: number
}

type Notice = words.Words & { readonly retry?: { readonly label: string; readonly file: File } }

let session: Session | undefined
/** The session's picture on the server. */
let current: VerifiedPicture | undefined
let upload: Upload | undefined
/** The picture of the last session, which the server has deleted; its preview stays on the page. */
let previous: Picture | undefined
let notice: Notice | undefined
let state: "none" | "connecting" | "open" | "lost" | "ended" = "none"

const setStatus = (text: string) => {
  ui.status.textContent = text
}

const revoke = (picture: Picture | undefined) => {
  if (picture !== undefined) URL.revokeObjectURL(picture.url)
}

const renderPicture = () => {
  const shown = upload ?? current ?? previous
  ui.stage.dataset["state"] = upload !== undefined ? "sending" : current !== undefined ? "current" : "previous"
  ui.stage.classList.toggle("empty", shown === undefined)
  ui.figure.hidden = shown === undefined
  ui.invitation.hidden = shown !== undefined
  if (shown === undefined) {
    ui.preview.removeAttribute("src")
  } else if (ui.preview.src !== shown.url) {
    ui.preview.src = shown.url
    ui.preview.alt = `Preview of ${shown.file.name}`
  }
}

const renderNotice = () => {
  ui.retry.hidden = notice?.retry === undefined
  ui.retry.textContent = notice?.retry?.label ?? ""
  if (notice === undefined) return ui.alert.replaceChildren()
  const title = document.createElement("strong")
  title.textContent = notice.title
  const detail = document.createElement("span")
  detail.textContent = notice.detail
  ui.alert.replaceChildren(title, ...notice.detail === "" ? [] : [detail])
}

const renderProgress = () => {
  ui.sending.hidden = upload === undefined
  if (upload === undefined) return
  const { file, received } = upload
  ui.sendingName.textContent = file.name
  if (received === 0) ui.progress.removeAttribute("value")
  else ui.progress.value = received / file.size * 100
  ui.amount.textContent = received === 0 ? words.size(file.size) : words.amount(received, file.size)
  ui.progressLabel.textContent = state === "connecting" ? "Connecting" : received === file.size ? "Checking" : "Sending"
}

const sessionLabels = {
  none: "No session",
  connecting: "Connecting",
  open: "Session open",
  lost: "Connection lost",
  ended: "Session ended"
}

const render = () => {
  const focused = document.activeElement
  renderPicture()
  renderNotice()
  renderProgress()
  ui.session.dataset["state"] = state
  ui.session.textContent = sessionLabels[state]
  const isIdle = upload === undefined
  ui.facts.hidden = current === undefined || !isIdle
  if (current !== undefined && session !== undefined) {
    words.facts(current.image, current.milliseconds).forEach((text, i) => {
      const fact = facts[i]
      if (fact !== undefined) fact.textContent = text
    })
    ui.copy.href = imageUrl(session.id)
  }
  ui.how.hidden = !isIdle || current !== undefined || previous !== undefined
  ui.choosing.hidden = !isIdle
  ui.choose.textContent = current === undefined ? "Choose a picture" : "Replace picture"
  ui.cancel.hidden = isIdle
  ui.end.hidden = session?.isOpen !== true || !isIdle
  // A hidden element loses the focus, and a keyboard user would have to start at the top of the page.
  if (focused instanceof HTMLElement && focused !== document.body && focused.closest("[hidden]") !== null) {
    const next = !ui.retry.hidden ? ui.retry : !ui.cancel.hidden ? ui.cancel : ui.file
    next.focus()
  }
}

const connect = (): Session => {
  const id = makeId()
  const url = new URL(`/v1/stream?session_id=${id}`, location.href)
  url.protocol = url.protocol.replace("http", "ws")
  const opened: Session = { id, socket: new WebSocket(url), isOpen: false }
  state = "connecting"
  opened.socket.addEventListener("open", () => {
    if (session !== opened) return
    state = "open"
    render()
  })
  opened.socket.addEventListener("close", () => {
    // During an upload, `send` reports the close.
    if (session !== opened || upload !== undefined) return
    if (opened.isOpen) loseConnection(undefined)
    else closeSession("none")
  })
  return opened
}

/** Closes the session, with which the server deletes its picture. */
const closeSession = (next: "none" | "lost" | "ended") => {
  session?.socket.close(1000)
  session = undefined
  state = next
  if (current !== undefined) {
    revoke(previous)
    previous = current
    current = undefined
  }
  render()
}

const loseConnection = (unsent: File | undefined) => {
  const wasConnected = state !== "connecting"
  const file = unsent ?? current?.file
  const text = wasConnected ? words.connectionLost : words.unreachable
  notice = file === undefined ? text : { ...text, retry: { label: "Reconnect and send again", file } }
  closeSession("lost")
}

/** Sends a file in the place of the upload in progress. */
const accept = (file: File) => {
  upload?.controller.abort()
  if (session?.isOpen === false) {
    // Aborting the first upload of a session ends the session.
    session.socket.close(1000)
    session = undefined
  }
  notice = undefined
  setStatus("")
  void start(file)
}

const start = async (file: File): Promise<void> => {
  const startedAt = performance.now()
  const started: Upload = { file, url: URL.createObjectURL(file), controller: new AbortController(), received: 0 }
  upload = started
  session ??= connect()
  const target = session
  render()
  try {
    const image = await send(target.socket, file, {
      type: target.isOpen ? "init_image_updated" : "session_init_v2",
      signal: started.controller.signal,
      onProgress: ({ received }) => {
        started.received = received
        if (upload === started) renderProgress()
      }
    })
    setStatus(target.isOpen ? "The session now uses this picture." : "The session is open with this picture.")
    target.isOpen = true
    revoke(current)
    revoke(previous)
    previous = undefined
    current = { ...started, image, milliseconds: performance.now() - startedAt }
    upload = undefined
    render()
  } catch (error) {
    revoke(started)
    // Aborted by a newer upload.
    if (upload !== started) return
    upload = undefined
    // Without an abort, `send` rejects with a `SendError`.
    if (started.controller.signal.aborted) showCancelled(target)
    else showFailure(error as SendError, file, target)
  }
}

const showCancelled = (target: Session) => {
  setStatus(current === undefined ? words.cancelled : words.cancelledReplacement)
  if (target.isOpen) return render()
  closeSession("none")
}

const showFailure = (error: SendError, file: File, target: Session) => {
  if (error._tag === "SocketClosed") return loseConnection(file)
  const refusal = words.refusal(error, file)
  notice = refusal.isRetryable ? { ...refusal, retry: { label: "Try again", file } } : refusal
  // Without a first picture there is no session, even if the file was refused before it was sent.
  if (target.isOpen) return render()
  closeSession("none")
}

const end = async (ended: Session): Promise<void> => {
  notice = undefined
  setStatus("Ending the session")
  closeSession("ended")
  await untilClosed(ended.socket)
  const deleted = await isDeleted(ended.id).catch(() => undefined)
  // A new session has started meanwhile.
  if (session !== undefined || state !== "ended") return
  setStatus(deleted === true ? words.pictureDeleted : "The session has ended.")
  if (deleted !== true) notice = deleted === false ? words.pictureNotDeleted : words.unreachable
  render()
}

const fileFrom = (data: DataTransfer | null): File | undefined =>
  Array.from(data?.files ?? []).find(({ type }) => type.startsWith("image/")) ?? data?.files[0]

const acceptFrom = (data: DataTransfer | null, noFile: words.Words) => {
  const file = fileFrom(data)
  if (file !== undefined) return accept(file)
  notice = noFile
  render()
}

ui.file.addEventListener("change", () => {
  const file = ui.file.files?.[0]
  // Without a reset, choosing the same file again fires no `change`.
  ui.file.value = ""
  if (file !== undefined) accept(file)
})
ui.cancel.addEventListener("click", () => upload?.controller.abort())
ui.end.addEventListener("click", () => {
  if (session !== undefined) void end(session)
})
ui.retry.addEventListener("click", () => {
  if (notice?.retry !== undefined) accept(notice.retry.file)
})

document.addEventListener("paste", ({ clipboardData }) => acceptFrom(clipboardData, words.nothingPasted))

/** How many nested elements the dragged file is over: `dragenter` and `dragleave` fire for each of them. */
let dragDepth = 0
const changeDragDepth = (change: number) => {
  dragDepth = Math.max(0, dragDepth + change)
  document.body.classList.toggle("over", dragDepth > 0)
}
document.addEventListener("dragenter", () => changeDragDepth(1))
document.addEventListener("dragleave", () => changeDragDepth(-1))
document.addEventListener("dragover", (event) => event.preventDefault())
document.addEventListener("drop", (event) => {
  // The default action opens the file in place of the page.
  event.preventDefault()
  changeDragDepth(-Infinity)
  acceptFrom(event.dataTransfer, words.nothingDropped)
})

render()
