/** Shaders around the mixer and the products, and what all shaders know of a step. The build puts their texts in the place of this file. */
import { readText } from '../../platform/read-text.ts'

export const stepText = readText(import.meta.url, './step.wgsl')
