/// <reference lib="dom" />
/** Shows a view. Nothing else changes the picture, the message and the controls of the page. */
import { controls, facts, steps, ui } from "./elements.js"
import type { Shown, View } from "./views.js"
import * as words from "./words.js"

const setText = (target: HTMLElement, text: string) => {
  // An unchanged text is not announced again.
  if (target.textContent !== text) target.textContent = text
}

const showPicture = (image: HTMLImageElement, shown: Shown | undefined) => {
  if (shown === undefined) return image.removeAttribute("src")
  if (image.src === shown.picture.url) return
  image.hidden = false
  image.src = shown.picture.url
}

const renderStage = ({ action, inset, shown }: View["stage"]) => {
  ui.stage.dataset["look"] = shown?.look ?? "empty"
  setText(ui.action, action)
  ui.invitation.hidden = shown !== undefined
  showPicture(ui.preview, shown)
  // A file that the browser cannot draw has its name in place of the preview.
  setText(ui.unseen, shown === undefined ? "" : words.shortName(shown.picture.file.name))
  setText(ui.mark, shown?.mark ?? "")
  ui.inset.hidden = inset === undefined
  ui.inset.dataset["look"] = inset?.look ?? "plain"
  showPicture(ui.insetPreview, inset)
  setText(ui.insetMark, inset?.mark ?? "")
}

const renderMessage = ({ isAlert, text, title }: View["message"]) => {
  const [shown, empty] = isAlert ? [ui.alert, ui.status] : [ui.status, ui.alert]
  empty.replaceChildren()
  const heading = document.createElement("h2")
  heading.textContent = title
  const paragraph = document.createElement("p")
  paragraph.textContent = text
  // An unchanged message is not announced again.
  if (shown.textContent !== title + text) shown.replaceChildren(heading, paragraph)
}

const renderProgress = (progress: View["progress"]) => {
  ui.sending.hidden = progress === undefined
  if (progress === undefined) return
  const { label, upload: { bytesPerSecond, picture: { file }, received } } = progress
  setText(ui.progressLabel, label)
  if (received === 0 || received >= file.size) ui.progress.removeAttribute("value")
  else ui.progress.value = received / file.size * 100
  setText(ui.amount, received === 0 ? words.size(file.size) : words.amount(received, file.size))
  setText(ui.pace, received >= file.size ? "" : words.pace(file.size - received, bytesPerSecond))
}

const renderDetail = ({ facts: held, step }: View["detail"], serverUrl: string) => {
  ui.facts.hidden = held === undefined
  ui.steps.hidden = held !== undefined
  if (held !== undefined) {
    words.facts(held.image, held.milliseconds).forEach((text, i) => {
      const fact = facts[i]
      if (fact !== undefined) setText(fact, text)
    })
    ui.copyOfServer.href = serverUrl
  }
  const names = ["connect", "send", "check"] as const
  for (const [i, name] of names.entries()) {
    const at = step === undefined ? -1 : names.indexOf(step)
    steps[name].dataset["state"] = i < at ? "done" : i === at ? "current" : "ahead"
    if (i === at) steps[name].setAttribute("aria-current", "step")
    else steps[name].removeAttribute("aria-current")
  }
}

const renderControls = (labels: View["controls"]) => {
  const names = ["retry", "choose", "photo", "cancel", "end"] as const
  for (const name of names) {
    const label = labels[name]
    controls[name].hidden = label === undefined
    if (label !== undefined) setText(controls[name], label)
  }
  const primary = names.find((name) => labels[name] !== undefined)
  for (const name of names) controls[name].classList.toggle("primary", name === primary && name !== "cancel")
}

/** Shows a view; `serverUrl` is where the server has the session's picture. */
export const render = (view: View, serverUrl: string): void => {
  const focused = document.activeElement
  ui.session.dataset["tone"] = view.session.tone
  setText(ui.session, view.session.label)
  renderStage(view.stage)
  setText(ui.hint, view.hint)
  renderMessage(view.message)
  renderProgress(view.progress)
  renderDetail(view.detail, serverUrl)
  renderControls(view.controls)
  // A hidden element loses the focus, and a keyboard user would have to start at the top of the page.
  if (focused instanceof HTMLElement && focused !== document.body && focused.closest("[hidden]") !== null) {
    const { cancel, choose, retry } = controls
    const next = [retry, cancel, choose].find((control) => !control.hidden) ?? ui.stage
    next.focus({ preventScroll: true })
  }
}

// A file that the browser cannot draw shows no broken image.
for (const image of [ui.preview, ui.insetPreview]) {
  image.addEventListener("error", () => {
    image.hidden = true
  })
}
