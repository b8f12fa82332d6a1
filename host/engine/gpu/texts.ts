/** Shaders of the engine itself: what is around the mixer and the products. The build puts their texts in the place of this file. */
import { readText } from '../../platform/read-text.ts'

export const activateText = readText(import.meta.url, './activate.wgsl')
export const bestText = readText(import.meta.url, './best.wgsl')
export const blocksText = readText(import.meta.url, './blocks.wgsl')
export const candidatesText = readText(import.meta.url, './candidates.wgsl')
export const checkText = readText(import.meta.url, './check.wgsl')
export const divideText = readText(import.meta.url, './divide.wgsl')
export const embedText = readText(import.meta.url, './embed.wgsl')
export const mathText = readText(import.meta.url, './math.wgsl')
export const normText = readText(import.meta.url, './norm.wgsl')
export const preciseText = readText(import.meta.url, './precise.wgsl')
export const softcapText = readText(import.meta.url, './softcap.wgsl')
export const stepText = readText(import.meta.url, './step.wgsl')
export const turnText = readText(import.meta.url, './turn.wgsl')
