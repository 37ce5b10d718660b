/// <reference lib="dom" />
/** The ways to give the page a picture: choose, take, drop and paste. */
import { controls, ui } from "./elements.js"
import * as words from "./words.js"

export interface Listeners {
  readonly onFile: (file: File) => void
  /** Called for a gesture without a file that can be sent. */
  readonly onHint: (hint: string) => void
}

/** Whether files are dragged, and not a text or a link. */
const hasFiles = (data: DataTransfer | null): boolean => data?.types.includes("Files") ?? false

const isFolder = ({ items }: DataTransfer): boolean =>
  Array.from(items).some((item) => item.webkitGetAsEntry?.()?.isDirectory === true)

const listenToInput = (input: HTMLInputElement, onFile: (file: File) => void) =>
  input.addEventListener("change", () => {
    const file = input.files?.[0]
    // Without a reset, choosing the same file again fires no `change`.
    input.value = ""
    if (file !== undefined) onFile(file)
  })

export const listen = ({ onFile, onHint }: Listeners): void => {
  const take = (data: DataTransfer | null, hintWithoutFile: string) => {
    const [file, ...others] = data?.files ?? []
    if (data === null || file === undefined) return onHint(hintWithoutFile)
    if (others.length > 0) return onHint(words.tooManyFiles(others.length + 1))
    if (isFolder(data)) return onHint(words.folderDropped)
    onFile(file)
  }

  for (const input of [ui.file, ui.camera]) listenToInput(input, onFile)
  for (const button of [ui.stage, controls.choose]) button.addEventListener("click", () => ui.file.click())
  controls.photo.addEventListener("click", () => ui.camera.click())

  document.addEventListener("paste", ({ clipboardData }) => take(clipboardData, words.nothingPasted))

  /** How many nested elements the dragged file is over: `dragenter` and `dragleave` fire for each of them. */
  let dragDepth = 0
  const changeDragDepth = (change: number) => {
    dragDepth = Math.max(0, dragDepth + change)
    document.body.classList.toggle("over", dragDepth > 0)
  }
  document.addEventListener("dragenter", ({ dataTransfer }) => {
    if (hasFiles(dataTransfer)) changeDragDepth(1)
  })
  document.addEventListener("dragleave", ({ dataTransfer }) => {
    if (hasFiles(dataTransfer)) changeDragDepth(-1)
  })
  document.addEventListener("dragover", (event) => {
    // The default action opens a file or a link in place of the page.
    event.preventDefault()
    if (event.dataTransfer !== null) event.dataTransfer.dropEffect = hasFiles(event.dataTransfer) ? "copy" : "none"
  })
  document.addEventListener("drop", (event) => {
    event.preventDefault()
    changeDragDepth(-Infinity)
    take(event.dataTransfer, words.nothingDropped)
  })
}
