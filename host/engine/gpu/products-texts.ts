/** Shaders of products. The build puts their texts in the place of this file. */
import { readText } from '../../platform/read-text.ts'

export const quantiseText = readText(import.meta.url, './quantise.wgsl')
export const productsText = readText(import.meta.url, './products.wgsl')
export const dotText = readText(import.meta.url, './products-dot.wgsl')
export const plainText = readText(import.meta.url, './products-plain.wgsl')
export const f32Text = readText(import.meta.url, './products-f32.wgsl')
export const q8Text = readText(import.meta.url, './products-q8.wgsl')
export const vectorText = readText(import.meta.url, './products-vector.wgsl')
export const tileText = readText(import.meta.url, './products-tile.wgsl')
export const packedText = readText(import.meta.url, './products-blocks.wgsl')
export const packedVectorText = readText(import.meta.url, './products-blocks-vector.wgsl')
export const packedTileText = readText(import.meta.url, './products-blocks-tile.wgsl')
