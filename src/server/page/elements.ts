/// <reference lib="dom" />
/** The elements of `index.html` that the script reads and changes. */

const element = <E extends Element>(id: string, type: new() => E): E => {
  const found = document.getElementById(id)
  if (!(found instanceof type)) throw new Error(`The page has no element "${id}" of type ${type.name}`)
  return found
}

export const ui = {
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

/** In the order of `words.facts`. */
export const facts = (["name", "type", "dimensions", "size", "time"] as const)
  .map((id) => element(`fact-${id}`, HTMLElement))
