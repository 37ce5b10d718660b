/** A blob that fails to be read, or is shorter, after the first `reads`. */
export const failingBlob = (bytes: Uint8Array<ArrayBuffer>, reads: number, how: "rejects" | "is shorter"): Blob => {
  const blob = new Blob([bytes], { type: "image/png" })
  let remaining = reads
  const slice = blob.slice.bind(blob)
  blob.slice = (start, end) => {
    remaining -= 1
    if (remaining >= 0) return slice(start, end)
    const cut = slice(start, Number(end) - 1)
    if (how === "rejects") cut.arrayBuffer = () => Promise.reject(new TypeError("changed"))
    return cut
  }
  return blob
}
