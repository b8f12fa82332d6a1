/**
 * SVG as text: the frame of every plot, letters and markers. Pure.
 *
 * Colours are those of Okabe and Ito, which people with any kind of colour vision can tell apart; a line has a marker and a
 * dash of its own besides. Every plot carries a title and a description for screen readers, every mark a tooltip. Ink and
 * paper come from CSS variables where a page sets them, so that one plot suits light, dark and print.
 */

/** Okabe and Ito, "Color Universal Design" (2008): blue, vermilion, green, orange, purple, sky blue, black. */
export const colours = ['#0072b2', '#d55e00', '#009e73', '#e69f00', '#cc79a7', '#56b4e9', '#4d4d4d'] as const
export const dashes = ['', '7 4', '2 3', '9 3 2 3', '4 2', '1 2', '12 4'] as const
export const INK = 'var(--ink, #1f2328)'
export const FAINT = 'var(--faint, #d8dee4)'
export const MUTED = 'var(--muted, #57606a)'
const PAPER = 'var(--paper, #ffffff)'

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)
}

export const round = (n: number) => String(Math.round(n * 10) / 10)

/** The frame of every plot: a picture with title and description, on paper of its own. */
export function picture(
  { title, description, width, height }: { title: string; description: string; width: number; height: number },
  content: string,
): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${round(height)}" role="img" aria-label="${escapeHtml(`${title}. ${description}`)}" font-family="system-ui, -apple-system, 'Segoe UI', sans-serif" font-size="13">`,
    `<title>${escapeHtml(title)}</title><desc>${escapeHtml(description)}</desc>`,
    `<rect width="${width}" height="${round(height)}" fill="${PAPER}"/>`,
    content,
    '</svg>\n',
  ].join('')
}

export function text(
  x: number,
  y: number,
  content: string,
  { anchor = 'start', size, fill = INK, weight, rotate }: TextOptions = {},
): string {
  const extra = [
    size ? ` font-size="${size}"` : '',
    weight ? ` font-weight="${weight}"` : '',
    rotate ? ` transform="rotate(${rotate} ${round(x)} ${round(y)})"` : '',
  ].join('')
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}" fill="${fill}"${extra}>${escapeHtml(content)}</text>`
}

/** As large as it fits, within reason. */
export function headline(title: string, width: number): string {
  return text(16, 24, title, {
    size: Math.max(11, Math.min(16, Math.floor((width - 32) / title.length / 0.61))),
    weight: 600,
  })
}

interface TextOptions {
  anchor?: 'start' | 'middle' | 'end'
  size?: number
  fill?: string
  weight?: number
  rotate?: number
}

/** One of seven shapes, so that colour is never alone. */
export function marker(which: number, x: number, y: number, fill: string, size = 4.5, title?: string): string {
  const shapes = [
    `<circle cx="${round(x)}" cy="${round(y)}" r="${size}"`,
    `<rect x="${round(x - size)}" y="${round(y - size)}" width="${2 * size}" height="${2 * size}"`,
    path(
      x,
      y,
      [
        [0, -1.3],
        [1.2, 0.9],
        [-1.2, 0.9],
      ],
      size,
    ),
    path(
      x,
      y,
      [
        [0, -1.35],
        [1.35, 0],
        [0, 1.35],
        [-1.35, 0],
      ],
      size,
    ),
    path(
      x,
      y,
      [
        [0, 1.3],
        [1.2, -0.9],
        [-1.2, -0.9],
      ],
      size,
    ),
    path(
      x,
      y,
      [
        [-1.3, -0.45],
        [-0.45, -0.45],
        [-0.45, -1.3],
        [0.45, -1.3],
        [0.45, -0.45],
        [1.3, -0.45],
        [1.3, 0.45],
        [0.45, 0.45],
        [0.45, 1.3],
        [-0.45, 1.3],
        [-0.45, 0.45],
        [-1.3, 0.45],
      ],
      size,
    ),
    path(
      x,
      y,
      [
        [-1.2, -0.5],
        [0, -1.2],
        [1.2, -0.5],
        [0.75, 1.1],
        [-0.75, 1.1],
      ],
      size,
    ),
  ]
  const shape = shapes[which % shapes.length]
  return `${shape} fill="${fill}" stroke="${PAPER}" stroke-width="1">${title ? `<title>${escapeHtml(title)}</title>` : ''}</${shape?.slice(1, shape.indexOf(' '))}>`
}

function path(x: number, y: number, corners: [number, number][], size: number): string {
  const points = corners.map(([dx, dy]) => `${round(x + dx * size)} ${round(y + dy * size)}`)
  return `<path d="M${points.join('L')}Z"`
}
