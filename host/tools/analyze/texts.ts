/** The page of the report, and the styles that other pages have too: files beside this one. The build puts their texts in its place. */
import { readText } from '../../platform/read-text.ts'

export const reportPage = readText(import.meta.url, './report.html')
export const styles = readText(import.meta.url, './report.css')
