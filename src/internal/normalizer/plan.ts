/** The size of a normalised picture. Pure. */
import type { Output } from "./job.js"

export interface Request {
  readonly fit?: "inside" | "cover" | "contain" | undefined
  readonly width?: number | undefined
  readonly height?: number | undefined
  readonly maxEdge?: number | undefined
  readonly multipleOf?: 8 | 16 | 32 | undefined
}

/** The longest edge without any wish: a full-size re-encode of 50 megapixels took 5.8 s and 734 MiB. */
export const defaultMaxEdge = 2048

/** The largest edge that WebP can store (RFC 9649), in pixels. */
export const largestEdge = 16_383

const isEdge = (n: number | undefined): boolean => n === undefined || Number.isInteger(n) && n >= 1 && n <= largestEdge

/** The fault of a request. */
export const problemOf = ({ fit, height, maxEdge, multipleOf, width }: Request): string | undefined => {
  for (const [name, edge] of Object.entries({ width, height, maxEdge })) {
    if (!isEdge(edge)) return `${name} must be a whole number from 1 to ${largestEdge}`
  }
  if (multipleOf !== undefined && multipleOf !== 8 && multipleOf !== 16 && multipleOf !== 32) {
    return "multipleOf must be 8, 16 or 32"
  }
  if (fit !== undefined && fit !== "inside" && fit !== "cover" && fit !== "contain") {
    return "fit must be inside, cover or contain"
  }
  return (fit === "cover" || fit === "contain") && (width === undefined || height === undefined)
    ? `${fit} needs a width and a height`
    : undefined
}

export type Size = Pick<Output, "width" | "height" | "fit">

const floorTo = (n: number, multiple: number): number => Math.max(multiple, Math.floor(n / multiple) * multiple)

/**
 * The size of the picture that is written for an upright picture of `width` × `height`. `inside` never enlarges, except
 * an edge shorter than `multipleOf`; `cover` and `contain` give the requested size.
 */
export const size = (width: number, height: number, request: Request): Size => {
  const { fit = "inside", maxEdge, multipleOf = 1 } = request
  const isBoxed = request.width !== undefined || request.height !== undefined
  const longest = maxEdge ?? (isBoxed ? Infinity : defaultMaxEdge)
  const boxWidth = Math.min(request.width ?? Infinity, longest)
  const boxHeight = Math.min(request.height ?? Infinity, longest)
  if (fit !== "inside") {
    return { fit, width: floorTo(boxWidth, multipleOf), height: floorTo(boxHeight, multipleOf) }
  }
  const scale = Math.min(1, boxWidth / width, boxHeight / height)
  // The little that a multiple cuts off is cropped, so that nothing is distorted.
  return {
    fit: "cover",
    width: floorTo(Math.max(1, Math.round(width * scale)), multipleOf),
    height: floorTo(Math.max(1, Math.round(height * scale)), multipleOf)
  }
}
