/** The sizes in the description of an image that is stored upright. */
export const uprightSize = (width: number, height: number) => ({
  width,
  height,
  orientation: 1 as const,
  upright_width: width,
  upright_height: height
})
