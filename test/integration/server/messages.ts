/** Messages of the session protocol, with images of distinct widths. */
import { uprightSize } from "../../utils/descriptions.js"
import { png } from "../../utils/images.js"
import { payloadOf } from "../../utils/payloads.js"

export const init = (payload?: unknown) => ({ type: "session_init_v2", initial_image: payload })
export const update = (payload?: unknown) => ({ type: "init_image_updated", initial_image: payload })

/** The payload of a PNG of this width. */
export const picture = (width: number) => payloadOf("image/png", png({ width, height: 2 }), `${width}.png`)

/** The server's description of `picture(width)`. */
export const image = (width: number) => ({
  mime: "image/png",
  display_name: `${width}.png`,
  bytes: png({ width, height: 2 }).length,
  ...uprightSize(width, 2)
})

export const answer = (image: unknown) => ({ type: "session_init_image", image })
export const noImage = answer(null)
