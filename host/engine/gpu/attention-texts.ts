/** Shaders of attention. The build puts their texts in the place of this file. */
import { readText } from '../../platform/read-text.ts'

export const cacheText = readText(import.meta.url, './attention-cache.wgsl')
export const chunksText = readText(import.meta.url, './attention-chunks.wgsl')
export const encodedText = readText(import.meta.url, './attention-encoded.wgsl')
export const finishText = readText(import.meta.url, './attention-finish.wgsl')
export const headText = readText(import.meta.url, './attention-head.wgsl')
export const headNormText = readText(import.meta.url, './attention-norm.wgsl')
export const lowText = readText(import.meta.url, './attention-low.wgsl')
export const mergeText = readText(import.meta.url, './attention-merge.wgsl')
export const pagesF32Text = readText(import.meta.url, './attention-pages-f32.wgsl')
export const pagesInt8Text = readText(import.meta.url, './attention-pages-int8.wgsl')
export const preparedText = readText(import.meta.url, './attention-prepared.wgsl')
export const queriesText = readText(import.meta.url, './attention-queries.wgsl')
export const rotateText = readText(import.meta.url, './attention-rotate.wgsl')
export const rowsText = readText(import.meta.url, './attention-rows.wgsl')
export const sweepText = readText(import.meta.url, './attention-sweep.wgsl')
