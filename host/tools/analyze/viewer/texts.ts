/** The page of the viewer and its styles: files beside this one. The build puts their texts in its place. */
import { readText } from '../../../platform/read-text.ts'

export const viewerPage = readText(import.meta.url, './viewer.html')
export const viewerStyles = readText(import.meta.url, './viewer.css')
