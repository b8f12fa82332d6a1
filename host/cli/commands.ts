/** The commands of `gta`: a line for each, and where it is, which is read when it is called. */
import type { Command } from './options.ts'

export interface CommandEntry {
  summary: string
  read(): Promise<Command>
}

export const commands: Readonly<Record<string, CommandEntry>> = {
  run: {
    summary: 'write on from a prompt; without MODEL and prompt, tell a story',
    read: async () => (await import('./run.ts')).run,
  },
  chat: {
    summary: 'talk with a model that was trained for it; /help tells how',
    read: async () => (await import('./chat.ts')).chat,
  },
  convert: {
    summary: 'pack a Hugging Face directory into one .gta file',
    read: async () => (await import('./convert.ts')).convert,
  },
  pull: {
    summary: 'download a model by its name, such as Qwen/Qwen3-0.6B, if it fits',
    read: async () => (await import('./pull.ts')).pull,
  },
  models: {
    summary: 'what was downloaded: name, size, type, date, place',
    read: async () => (await import('./models.ts')).models,
  },
  rm: {
    summary: 'remove what was downloaded',
    read: async () => (await import('./models.ts')).remove,
  },
  serve: {
    summary: 'an API for programs, as OpenAI, Ollama and llama.cpp have it',
    read: async () => (await import('./serve.ts')).serve,
  },
  batch: {
    summary: 'a file of requests to a file of results, as OpenAI’s batches; goes on where it was killed',
    read: async () => (await import('./batch.ts')).batch,
  },
  worker: {
    summary: 'answer the requests of a queue on a NATS server',
    read: async () => (await import('./worker.ts')).worker,
  },
  submit: {
    summary: 'a file of requests into such a queue',
    read: async () => (await import('./submit.ts')).submit,
  },
  collect: {
    summary: 'the results of such a queue into a file',
    read: async () => (await import('./collect.ts')).collect,
  },
  inspect: {
    summary: 'what a model is and what it costs: a .gta file, a directory, or a config.json alone',
    read: async () => (await import('./inspect.ts')).inspect,
  },
  logits: {
    summary: 'the logits after the last token of a prompt',
    read: async () => (await import('./logits.ts')).logits,
  },
  eval: {
    summary: 'perplexity of a text, questions of multiple choice, and what cheaper weights and caches change',
    read: async () => (await import('./eval.ts')).evaluate,
  },
  bench: {
    summary: 'speed of reading prompts and of generating, with any config and without its weights too',
    read: async () => (await import('./bench.ts')).bench,
  },
  analyze: {
    summary: 'operations, bytes, bound and time of every operation, on this machine or another device',
    read: async () => (await import('./analyze.ts')).analyze,
  },
  fit: {
    summary: 'does a model fit, with which context and how many conversations; exit code 1: no',
    read: async () => (await import('./fit.ts')).fit,
  },
  view: {
    summary: 'a page for your browser: layer graph, roofline, two models side by side',
    read: async () => (await import('./view.ts')).view,
  },
  doctor: {
    summary: 'what this machine is, which engine build it gets, and why',
    read: async () => (await import('./doctor.ts')).doctor,
  },
  wasi: {
    summary: 'run gta.wasm, the command for WASI engines, on the one of Node',
    read: async () => (await import('./wasi.ts')).wasi,
  },
}
