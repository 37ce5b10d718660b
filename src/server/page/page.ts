/// <reference lib="dom" />
/** The page: one session at a time, opened with the first picture that is sent. */
import { type ImageDescription, send, type SendError } from "../../browser/promise.js"
import * as words from "./words.js"

const element = <E extends Element>(id: string, type: new() => E): E => {
  const found = document.getElementById(id)
  if (!(found instanceof type)) throw new Error(`The page has no ${id}`)
  return found
}

const ui = {
  alert: element("alert", HTMLElement),
  amount: element("amount", HTMLElement),
  cancel: element("cancel", HTMLButtonElement),
  choose: element("choose", HTMLLabelElement),
  choosing: element("choosing", HTMLElement),
  copy: element("copy", HTMLAnchorElement),
  end: element("end", HTMLButtonElement),
  facts: element("facts", HTMLElement),
  figure: element("figure", HTMLElement),
  file: element("file", HTMLInputElement),
  how: element("how", HTMLElement),
  invitation: element("invitation", HTMLElement),
  preview: element("preview", HTMLImageElement),
  progress: element("progress", HTMLProgressElement),
  progressLabel: element("progress-label", HTMLElement),
  retry: element("retry", HTMLButtonElement),
  sending: element("sending", HTMLElement),
  sendingName: element("sending-name", HTMLElement),
  session: element("session", HTMLElement),
  stage: element("stage", HTMLElement),
  status: element("status", HTMLElement)
}

const factIds = ["name", "type", "dimensions", "size", "time"] as const
const facts = factIds.map((id) => element(`fact-${id}`, HTMLElement))

interface Session {
  readonly id: string
  readonly socket: WebSocket
  /** Whether it has a picture: the first one opens it. */
  isOpen: boolean
}

/** A picture, and where it can be seen for as long as it is kept. */
interface Picture {
  readonly file: File
  readonly url: string
}

interface Kept extends Picture {
  readonly image: ImageDescription
  readonly milliseconds: number
}

interface Sending extends Picture {
  readonly controller: AbortController
  received: number
}

type Notice = words.Words & { readonly retry?: { readonly label: string; readonly file: File } }

let session: Session | undefined
let kept: Kept | undefined
let sending: Sending | undefined
/** What the server has no more. */
let gone: Picture | undefined
let notice: Notice | undefined
let state: "none" | "connecting" | "open" | "lost" | "ended" = "none"

const say = (text: string) => {
  ui.status.textContent = text
}

/** Shown in the place of the one that is there, of which nothing is kept. */
const forget = (picture: Picture | undefined) => {
  if (picture !== undefined) URL.revokeObjectURL(picture.url)
}

const renderPicture = () => {
  const shown = sending ?? kept ?? gone
  ui.stage.dataset["state"] = sending === undefined ? (kept === undefined ? "gone" : "kept") : "sending"
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
  ui.sending.hidden = sending === undefined
  if (sending === undefined) return
  const { file, received } = sending
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
  const isIdle = sending === undefined
  ui.facts.hidden = kept === undefined || !isIdle
  if (kept !== undefined && session !== undefined) {
    words.facts(kept.image, kept.milliseconds).forEach((text, i) => {
      const fact = facts[i]
      if (fact !== undefined) fact.textContent = text
    })
    ui.copy.href = copyOf(session.id)
  }
  ui.how.hidden = !isIdle || kept !== undefined || gone !== undefined
  ui.choosing.hidden = !isIdle
  ui.choose.textContent = kept === undefined ? "Choose a picture" : "Replace it"
  ui.cancel.hidden = isIdle
  ui.end.hidden = session?.isOpen !== true || !isIdle
  // What had the focus may be gone now, and whoever uses a keyboard would have to begin at the top.
  if (focused instanceof HTMLElement && focused !== document.body && focused.closest("[hidden]") !== null) {
    const next = !ui.retry.hidden ? ui.retry : !ui.cancel.hidden ? ui.cancel : ui.file
    next.focus()
  }
}

const copyOf = (id: string) => `/sessions/${encodeURIComponent(id)}/init-image`

/** Pages that do not come over TLS, nor from the same machine, have no `randomUUID`. */
const makeId = (): string =>
  typeof crypto.randomUUID === "function"
    ? crypto.randomUUID()
    : Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("")

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
    // While a picture is sent, that is told by what sends it.
    if (session !== opened || sending !== undefined) return
    if (opened.isOpen) lose(undefined)
    else leave("none")
  })
  return opened
}

/** Without a session, and with nothing of its picture on the server. */
const leave = (next: "none" | "lost" | "ended") => {
  session?.socket.close(1000)
  session = undefined
  state = next
  if (kept !== undefined) {
    forget(gone)
    gone = kept
    kept = undefined
  }
  render()
}

const lose = (file: File | undefined) => {
  const wasConnected = state !== "connecting"
  const again = file ?? kept?.file
  const text = wasConnected ? words.connectionLost : words.unreachable
  notice = again === undefined ? text : { ...text, retry: { label: "Reconnect and send again", file: again } }
  leave("lost")
}

const give = (file: File) => {
  sending?.controller.abort()
  if (session?.isOpen === false) {
    // An opening that is given up takes its session with it.
    session.socket.close(1000)
    session = undefined
  }
  notice = undefined
  say("")
  void upload(file)
}

const upload = async (file: File): Promise<void> => {
  const began = performance.now()
  const mine: Sending = { file, url: URL.createObjectURL(file), controller: new AbortController(), received: 0 }
  sending = mine
  session ??= connect()
  const into = session
  render()
  try {
    const image = await send(into.socket, file, {
      type: into.isOpen ? "init_image_updated" : "session_init_v2",
      signal: mine.controller.signal,
      onProgress: ({ received }) => {
        mine.received = received
        if (sending === mine) renderProgress()
      }
    })
    say(into.isOpen ? "The session goes on with this picture." : "The session is open with this picture.")
    into.isOpen = true
    forget(kept)
    forget(gone)
    gone = undefined
    kept = { ...mine, image, milliseconds: performance.now() - began }
    sending = undefined
    render()
  } catch (error) {
    forget(mine)
    // Given up for another one, which is under way by now.
    if (sending !== mine) return
    sending = undefined
    // `send` rejects with nothing else but an abort.
    if (mine.controller.signal.aborted) abandon(into)
    else fail(error as SendError, file, into)
  }
}

const abandon = (from: Session) => {
  say(kept === undefined ? "Cancelled. The server has kept nothing of it." : "Cancelled. The picture before it stays.")
  if (from.isOpen) return render()
  leave("none")
}

const fail = (error: SendError, file: File, from: Session) => {
  if (error._tag === "SocketClosed") return lose(file)
  const refusal = words.refusal(error, file)
  notice = refusal.isRetryable ? { ...refusal, retry: { label: "Try again", file } } : refusal
  // An opening that is refused ends its session, also where it was refused before it was sent.
  if (from.isOpen) return render()
  leave("none")
}

/** How long a server may take to answer a closing handshake, in milliseconds. */
const closingTimeout = 2000

const closed = (socket: WebSocket): Promise<void> =>
  new Promise((resolve) => {
    if (socket.readyState === WebSocket.CLOSED) return resolve()
    socket.addEventListener("close", () => resolve(), { once: true })
    setTimeout(resolve, closingTimeout)
  })

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** The file goes after the connection has, so it is asked for more than once. */
const isGone = async (id: string): Promise<boolean> => {
  for (let tries = 0; tries < 20; tries++) {
    const response = await fetch(copyOf(id), { method: "GET", cache: "no-store" })
    await response.body?.cancel()
    if (response.status === 404) return true
    await pause(100)
  }
  return false
}

const end = async (ended: Session): Promise<void> => {
  notice = undefined
  say("Ending the session")
  leave("ended")
  await closed(ended.socket)
  const outcome = await isGone(ended.id).catch(() => undefined)
  // A new one may have begun by now.
  if (session !== undefined || state !== "ended") return
  say(outcome === true ? words.fileIsGone : "The session has ended.")
  if (outcome !== true) notice = outcome === false ? words.fileIsThere : words.unreachable
  render()
}

const fileOf = (data: DataTransfer | null): File | undefined =>
  Array.from(data?.files ?? []).find(({ type }) => type.startsWith("image/")) ?? data?.files[0]

const offer = (data: DataTransfer | null, whereNone: words.Words) => {
  const file = fileOf(data)
  if (file !== undefined) return give(file)
  notice = whereNone
  render()
}

ui.file.addEventListener("change", () => {
  const [file] = ui.file.files ?? []
  // The same file can be chosen again.
  ui.file.value = ""
  if (file !== undefined) give(file)
})
ui.cancel.addEventListener("click", () => sending?.controller.abort())
ui.end.addEventListener("click", () => {
  if (session !== undefined) void end(session)
})
ui.retry.addEventListener("click", () => {
  if (notice?.retry !== undefined) give(notice.retry.file)
})

document.addEventListener("paste", ({ clipboardData }) => offer(clipboardData, words.nothingPasted))

/** Of the elements under the pointer, how many it has entered and not left. */
let depth = 0
const hover = (change: number) => {
  depth = Math.max(0, depth + change)
  document.body.classList.toggle("over", depth > 0)
}
document.addEventListener("dragenter", () => hover(1))
document.addEventListener("dragleave", () => hover(-1))
document.addEventListener("dragover", (event) => event.preventDefault())
document.addEventListener("drop", (event) => {
  // Otherwise the browser leaves the page to show the file.
  event.preventDefault()
  hover(-Infinity)
  offer(event.dataTransfer, words.nothingDropped)
})

render()
