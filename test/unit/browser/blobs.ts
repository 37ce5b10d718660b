/** A file that fails, or has become shorter, from so many reads on. */
export const failingBlob = (bytes: Uint8Array<ArrayBuffer>, reads: number, how: "rejects" | "is shorter"): Blob => {
  const blob = new Blob([bytes], { type: "image/png" })
  let left = reads
  const slice = blob.slice.bind(blob)
  blob.slice = (start, end) => {
    left -= 1
    if (left >= 0) return slice(start, end)
    const cut = slice(start, Number(end) - 1)
    if (how === "rejects") cut.arrayBuffer = () => Promise.reject(new TypeError("changed"))
    return cut
  }
  return blob
}
