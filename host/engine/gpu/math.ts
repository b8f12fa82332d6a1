/** What shaders compute with as the CPU does, in the order that it needs: before the text of a shader. */
import { divideText, mathText, preciseText } from './texts.ts'

/** precisely(), divided() and rootOf(). */
export const roundingText = preciseText + divideText
/** These, and exp, σ and tanh. */
export const functionsText = roundingText + mathText
