/// <reference lib="dom" />
/** The log for developers: the session's messages, the error of the state, and the request as `curl`. */
import { ui } from "./elements.js"
import { curl, messageText, shortText } from "./messages.js"
import type { ErrorJson } from "./words.js"

/** Older messages leave the log. */
const maxMessages = 1000

const arrows = { sent: "↑", received: "↓", noted: "·" }
const names = { sent: "Sent", received: "Received", noted: "Note" }

let startedAt = 0

/** The texts of the entries, to copy. */
const texts = new WeakMap<Element, string>()

const append = (kind: keyof typeof arrows, text: string, shown = text) => {
  const entry = document.createElement("li")
  entry.className = kind
  const arrow = document.createElement("span")
  arrow.setAttribute("role", "img")
  arrow.setAttribute("aria-label", names[kind])
  arrow.textContent = arrows[kind]
  const time = document.createElement("time")
  time.textContent = ((performance.now() - startedAt) / 1000).toFixed(3)
  const code = document.createElement("code")
  code.textContent = shown
  entry.append(arrow, " ", time, " ", code)
  texts.set(entry, `${arrow.textContent} ${time.textContent} ${text}`)
  const isAtEnd = ui.messages.scrollHeight - ui.messages.scrollTop - ui.messages.clientHeight < 40
  ui.messages.append(entry)
  if (ui.messages.childElementCount > maxMessages) ui.messages.firstElementChild?.remove()
  if (isAtEnd) ui.messages.scrollTop = ui.messages.scrollHeight
}

/** Starts the log of a session. */
export const start = (url: URL): void => {
  startedAt = performance.now()
  ui.messages.replaceChildren()
  append("noted", `connect ${url.href}`)
}

const appendMessage = (kind: "sent" | "received", data: unknown) => {
  const text = messageText(data)
  append(kind, text, shortText(text))
}

export const sent = (data: unknown): void => appendMessage("sent", data)
export const received = (data: unknown): void => appendMessage("received", data)
export const noted = (text: string): void => append("noted", text)

/** Shows an error, or none. */
export const setError = (error: ErrorJson | undefined): void => {
  const text = error === undefined ? "" : JSON.stringify(error, null, 2)
  // A new text node would end a selection.
  if (ui.error.textContent !== text) ui.error.textContent = text
}

export const setRequest = (file: File): void => {
  ui.curl.textContent = curl(location.origin, file.name)
}

/** Copies the text of an element, also in a page without TLS, where no clipboard is given to scripts. */
const copy = async (target: HTMLElement): Promise<void> => {
  const text = textIn(target)
  if (navigator.clipboard !== undefined) return navigator.clipboard.writeText(text)
  const onCopy = (event: ClipboardEvent) => {
    event.clipboardData?.setData("text/plain", text)
    event.preventDefault()
  }
  document.addEventListener("copy", onCopy)
  getSelection()?.selectAllChildren(target)
  document.execCommand("copy")
  document.removeEventListener("copy", onCopy)
}

const textIn = (target: HTMLElement): string =>
  target === ui.messages
    ? Array.from(target.children, (entry) => texts.get(entry) ?? "").join("\n")
    : target.textContent ?? ""

for (const button of document.querySelectorAll<HTMLButtonElement>("button[data-copies]")) {
  const label = button.textContent
  button.addEventListener("click", async () => {
    const target = document.getElementById(button.dataset["copies"] ?? "")
    if (target === null) return
    button.textContent = ui.copied.textContent = await copy(target).then(() => "Copied", () => "Not copied")
    setTimeout(() => {
      button.textContent = label
      ui.copied.textContent = ""
    }, 2000)
  })
}
