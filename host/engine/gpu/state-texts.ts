/** Shaders of mixers that keep a state. The build puts their texts in the place of this file. */
import { readText } from '../../platform/read-text.ts'

export const convText = readText(import.meta.url, './state-conv.wgsl')
export const deltaText = readText(import.meta.url, './state-delta.wgsl')
export const statePagesText = readText(import.meta.url, './state-pages.wgsl')
export const stateNormText = readText(import.meta.url, './state-norm.wgsl')
