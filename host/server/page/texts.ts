/** The chat page of the server and its styles: files beside this one. The build puts their texts in its place. */
import { readText } from '../../platform/read-text.ts'

export const pageText = readText(import.meta.url, './page.html')
export const pageStyles = readText(import.meta.url, './page.css')
