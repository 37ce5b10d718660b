/// <reference lib="dom" />
/** The elements of `index.html` that the script reads and changes. */

const element = <E extends Element>(id: string, type: new() => E): E => {
  const found = document.getElementById(id)
  if (!(found instanceof type)) throw new Error(`The page has no element "${id}" of type ${type.name}`)
  return found
}

const html = (id: string) => element(id, HTMLElement)
const button = (id: string) => element(id, HTMLButtonElement)

export const ui = {
  action: html("action"),
  alert: html("alert"),
  amount: html("amount"),
  camera: element("camera", HTMLInputElement),
  copied: html("copied"),
  copyOfServer: element("copy", HTMLAnchorElement),
  curl: html("curl"),
  error: html("error"),
  facts: html("facts"),
  file: element("file", HTMLInputElement),
  hint: html("hint"),
  inset: html("inset"),
  insetMark: html("inset-mark"),
  insetPreview: element("inset-preview", HTMLImageElement),
  invitation: html("invitation"),
  limit: html("limit"),
  mark: html("mark"),
  messages: html("messages"),
  pace: html("pace"),
  preview: element("preview", HTMLImageElement),
  progress: element("progress", HTMLProgressElement),
  progressLabel: html("progress-label"),
  sending: html("sending"),
  session: html("session"),
  stage: button("stage"),
  status: html("status"),
  steps: html("steps"),
  unseen: html("unseen")
}

/** The buttons below the message, by the names of `Controls`. */
export const controls = {
  retry: button("retry"),
  choose: button("choose"),
  photo: button("photo"),
  cancel: button("cancel"),
  end: button("end")
}

/** In the order of `words.facts`. */
export const facts = (["name", "type", "dimensions", "size", "time"] as const).map((id) => html(`fact-${id}`))

export const steps = { connect: html("step-connect"), send: html("step-send"), check: html("step-check") }

/** The server's limit, which it writes into the page. */
export const maxBytes = Number(document.body.dataset["maxBytes"])
