/** Puts HTML into the places of a page: {{styles}}, {{title}}. What comes from outside must have been escaped. */
export function fillPage(page: string, parts: Record<string, string>): string {
  return page.replace(/\{\{(\w+)\}\}/g, (_, name: string) => {
    const part = parts[name]
    if (part === undefined) throw new RangeError(`nothing is there for {{${name}}}`)
    return part
  })
}
