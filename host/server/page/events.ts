/** Reads a streamed answer of the API: server-sent events, and the comments that tell how far a prompt is. */

export type StreamItem = { data: string } | { comment: string }

/** Items in their order; ends where the stream ends. */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<StreamItem> {
  const decoder = new TextDecoder()
  const reader = body.getReader()
  let text = ''
  try {
    for (;;) {
      const { done, value } = await reader.read()
      text += decoder.decode(value, { stream: !done })
      const lines = text.split(/\r?\n/)
      text = lines.pop() as string
      for (const line of lines) {
        if (line.startsWith('data:')) yield { data: line.slice(5).trim() }
        else if (line.startsWith(':')) yield { comment: line.slice(1).trim() }
      }
      if (done) return
    }
  } finally {
    // A stream that broke off has nothing left to cancel.
    await reader.cancel().catch(() => undefined)
  }
}
