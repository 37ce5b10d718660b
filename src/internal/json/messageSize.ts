/** How the size of a JSON message and the size of its image limit each other. */

/**
 * The most that escapes add to base64 text. Some encoders write `/` as `\/` (PHP) or `+` as `\u002B` (.NET), or each as
 * six characters. Both are 1/64 of an image's base64, so that the text grows by a sixth at most.
 */
const maxEscapeFactor = 1.25

/** The largest message of an image of `maxBytes` that has `maxMessageBytes` beside it, in bytes. */
export const largestMessage = (maxBytes: number, maxMessageBytes: number): number =>
  Math.ceil(Math.ceil(maxBytes / 3) * 4 * maxEscapeFactor) + maxMessageBytes

/** The least size of the image in a message of `messageBytes` that has at most `maxMessageBytes` beside it, in bytes. */
export const leastImage = (messageBytes: number, maxMessageBytes: number): number =>
  Math.floor((messageBytes - maxMessageBytes) / maxEscapeFactor * 3 / 4)
