/** Estimates the memory of a decoder. */
import type { Header } from "./header.js"
import type { Output } from "./job.js"

/** Buffers of the libraries, in bytes. */
const baseBytes = 16 * 1024 * 1024

/**
 * The rows in work at a time, in 32-bit floats while they are scaled; measured up to 48 MiB for 4,000 16-bit pixels, and
 * 91 MiB for 16,000 pixels of CMYK.
 */
const rowsInWork = 1536

/** The rows of the scaled picture that wait for the encoder at a time. */
const scaledRowsInWork = 1024

const bytesPerOutputPixel = 4

export interface Picture {
  readonly width: number
  readonly height: number
  /** Whether the picture is turned after it was scaled, which holds the scaled picture. */
  readonly isTurned: boolean
}

/** Bounds the memory that decoding takes, and scaling and encoding if there is an output, in bytes. */
export const estimate = (picture: Picture, header: Header, output: Output | undefined): number => {
  const { height, isTurned, width } = picture
  const decoded = width * height * header.heldBytesPerPixel
  const rows = width * Math.min(height, rowsInWork) * header.bytesPerPixel * (header.bytesPerPixel > 4 ? 2 : 1)
  return Math.ceil(
    baseBytes + decoded + rows + (output === undefined ? 0 : scaledBytes(width, height, isTurned, output))
  )
}

const scaledBytes = (width: number, height: number, isTurned: boolean, output: Output): number => {
  const [boxWidth, boxHeight] = isTurned ? [output.height, output.width] : [output.width, output.height]
  const across = boxWidth / width
  const down = boxHeight / height
  const scale = output.fit === "cover" ? Math.max(across, down) : Math.min(across, down)
  const scaled = isTurned
    ? width * scale * (height * scale)
    : width * scale * Math.min(height * scale, scaledRowsInWork)
  const encoded = output.width * output.height
  return bytesPerOutputPixel * (scaled + encoded)
}
