/** What is wrong with a page's layout, measured in a browser: boxes of texts, and lines that run through them. */
import type { Page } from 'playwright-core'

/** Empty if all is well; else sentences. Texts in pictures that touch by a pixel are no problem. */
export async function layoutProblems(page: Page): Promise<string[]> {
  return await page.evaluate(() => {
    const problems: string[] = []
    const { scrollWidth, clientWidth } = document.documentElement
    if (scrollWidth > clientWidth) problems.push(`the page is ${scrollWidth} wide, the window ${clientWidth}`)
    const name = (element: Element) => `"${element.textContent}"`
    const inside = (box: DOMRect, x: number, y: number) =>
      x > box.left + 1 && x < box.right - 1 && y > box.top + 2 && y < box.bottom - 2
    for (const svg of document.querySelectorAll('svg')) {
      const frame = svg.getBoundingClientRect()
      if (frame.width === 0) continue
      const texts = [...svg.querySelectorAll('text')].map((element) => ({
        element,
        box: element.getBoundingClientRect(),
      }))
      for (const [i, { element, box }] of texts.entries()) {
        if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1)
          problems.push(`${name(element)} is cut off`)
        for (const other of texts.slice(i + 1)) {
          const across = Math.min(box.right, other.box.right) - Math.max(box.left, other.box.left)
          const down = Math.min(box.bottom, other.box.bottom) - Math.max(box.top, other.box.top)
          if (across > 1 && down > 2) problems.push(`${name(element)} lies on ${name(other.element)}`)
        }
      }
      // Lines of the grid are faint, and end where texts are; nodes of a graph lie on paper of their own.
      const own = (path: SVGPathElement) =>
        path.closest('defs, [data-op]') || path.getAttribute('stroke')?.includes('faint')
      const lines = [...svg.querySelectorAll<SVGPathElement>('path[stroke-width]')].filter((path) => !own(path))
      const free = texts.filter(({ element }) => !element.closest('[data-op]'))
      for (const line of lines) {
        const matrix = line.getScreenCTM() as DOMMatrix
        const length = line.getTotalLength()
        const points = Array.from({ length: Math.ceil(length / 2) }, (_, i) =>
          line.getPointAtLength(2 * i).matrixTransform(matrix),
        )
        for (const { element, box } of free)
          if (points.some(({ x, y }) => inside(box, x, y))) problems.push(`a line runs through ${name(element)}`)
      }
    }
    // Texts outside of pictures: what is cut by its own box without a way to scroll there.
    for (const element of document.querySelectorAll('h1, h2, p, li, label, button, caption, th, td, dd, dt, summary')) {
      if (element.closest('.wide') || element.closest('details:not([open])')) continue
      const box = element.getBoundingClientRect()
      if (box.width > 0 && box.right > clientWidth + 1) problems.push(`${name(element).slice(0, 60)} is cut off`)
    }
    return problems
  })
}

/** Widths that pages must suit: of small phones, of usual ones, of a desk. */
export const widths = [360, 390, 1280]
