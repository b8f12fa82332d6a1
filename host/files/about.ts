/**
 * What a model is called, under which licence it is, and where it comes from: as its files say it, for people. Nothing is decided
 * by it. Any of it is somebody else's text: it is one line and bounded here, and shown with control characters made visible.
 */
export interface About {
  name?: string
  license?: string
  source?: string
}

export const aboutNames = ['name', 'license', 'source'] as const
/** UTF-16 units of one of them at most. */
const MAX_LENGTH = 200

/** Of texts, those that say something; undefined where none does. What is no text is none. */
export function aboutOf(texts: Partial<Record<keyof About, unknown>>): About | undefined {
  const about: About = {}
  for (const name of aboutNames) {
    const text = texts[name]
    const line = typeof text === 'string' ? text.replace(/\s+/g, ' ').trim() : ''
    if (line !== '') about[name] = line.length > MAX_LENGTH ? `${line.slice(0, MAX_LENGTH - 1)}…` : line
  }
  return Object.keys(about).length > 0 ? about : undefined
}
