/** What is told where there is no model. Read when it is told: a program that has its model needs none of it. */
import { GtaError } from '../errors.ts'
import { parseRepository } from './hub/repository.ts'

export function noModel(path: string): GtaError {
  return new GtaError(
    'NOT_FOUND',
    `"${path}" must be a .gta or .gguf file or a model directory, found nothing there: ${howToGet(path)}`,
  )
}

/** A path is misspelt, and the name of a repository is no path. */
function howToGet(path: string): string {
  if (!parseRepository(path) || /^[^:]*\.(gta|json|safetensors|gguf)$/.test(path))
    return 'check the path; README.md, "Models", says which ones can be had and how'
  return `check the path. If it is a repository of huggingface.co, "gta pull ${path}" downloads it once; then its name is enough`
}
