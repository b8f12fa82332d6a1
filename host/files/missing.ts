/** What is told where there is no model. Read when it is told: a program that has its model needs none of it. */
import { GtaError } from '../errors.ts'

/** A name such as Qwen/Qwen3-0.6B, by which models are known that lie elsewhere. */
const repositoryName = /^[A-Za-z0-9][\w.-]*\/([A-Za-z0-9][\w.-]*)$/

export function noModel(path: string): GtaError {
  return new GtaError(
    'NOT_FOUND',
    `"${path}" must be a .gta or .gguf file or a model directory, found nothing there: ${howToGet(path)}`,
  )
}

/** A path is misspelt, and the name of a repository is no path. */
function howToGet(path: string): string {
  const [, name] = repositoryName.exec(path) ?? []
  if (name === undefined || /\.(gta|json|safetensors|gguf)$/.test(name))
    return 'check the path; README.md, "Models", says which ones can be had and how'
  return `check the path. If it is a repository of huggingface.co, download it first: "hf download ${path} --local-dir ${name}" (pip install huggingface_hub brings hf), or with git-lfs "git clone https://huggingface.co/${path}"; then give the directory, ${name}, or the .gguf file in it`
}
