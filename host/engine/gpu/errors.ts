/** What only the GPU engine throws: what, expected, found, what to do. */
import { GtaError, megabytes } from '../../errors.ts'

export const gpuErrors = {
  lost: (reason: string) =>
    new GtaError(
      'GPU_LOST',
      `the GPU must stay there while a model is open, it was lost: ${reason}. Load the model again, with recover (--recover) to go on on the CPU then, or without gpu (--gpu off)`,
    ),
  noMemory: (bytes: number) =>
    new GtaError(
      'TOO_LARGE',
      `the GPU must give ${megabytes(bytes)}, it refused: use a smaller -c or a smaller type, close what else uses the GPU, or load without gpu (--gpu off)`,
    ),
  limit: (what: string, needed: number, limit: string, most: number) =>
    new GtaError(
      'TOO_LARGE',
      `${what} must be at most ${most} on this GPU (${limit}), found ${needed}: use a smaller -c or a smaller type, or load without gpu (--gpu off)`,
    ),
  badShader: (name: string, line: number, text: string, message: string) =>
    new GtaError(
      'ENGINE_FAILED',
      `shader "${name}" must compile on this GPU, found in line ${line}, "${text.trim()}": ${message.trim()}. Load without gpu (--gpu off); please report it`,
    ),
  refused: (message: string) =>
    new GtaError(
      'ENGINE_FAILED',
      `the GPU refused what it was asked for: ${message.trim()}. Load without gpu (--gpu off); please report it`,
    ),
}
