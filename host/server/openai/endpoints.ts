/** The endpoints of OpenAI's API that write or embed: what a server and a batch both have. */
import type { Call } from '../call.ts'
import type { Services } from '../services.ts'
import { chatCompletions } from './chat.ts'
import { completions } from './completions.ts'
import { embeddings } from './embeddings.ts'
import { responses } from './responses.ts'

export type Endpoint = (call: Call, services: Services, body: Record<string, unknown>) => Promise<void>

/** By path; each is a POST. */
export const openaiEndpoints: Readonly<Record<string, Endpoint>> = {
  '/v1/chat/completions': chatCompletions,
  '/v1/completions': completions,
  '/v1/responses': responses,
  '/v1/embeddings': embeddings,
}
