/** The page of `npm run web` and its styles: files beside this one. The build puts their texts in its place. */
import { readText } from '../platform/read-text.ts'

export const webPage = readText(import.meta.url, './web.html')
export const webStyles = readText(import.meta.url, './web.css')
