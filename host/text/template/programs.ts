/** What runs in a process of its own. */
import { programText } from '../../platform/program-text.ts'

export const renderProcess = programText(import.meta.url, './render-process.ts')
