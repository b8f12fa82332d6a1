/** The browser of the tests: Debian's chromium. Where there is none, they are skipped with a loud line. */
import { type Browser, chromium } from 'playwright-core'
import { limit } from './limits.ts'
import { findTool, toolTest } from './tools.ts'

/** Where pictures are kept, if anywhere: GTA_SCREENSHOTS=DIR. */
export const screenshots = process.env.GTA_SCREENSHOTS

/** `args`: flags of chromium. */
export async function launchBrowser(args: string[] = []): Promise<Browser | undefined> {
  const executablePath = findTool('chromium')
  if (!executablePath) return undefined
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', ...args], timeout: limit(300) })
  const newPage = browser.newPage.bind(browser)
  browser.newPage = async (options) => {
    const page = await newPage(options)
    page.setDefaultTimeout(limit(30))
    return page
  }
  return browser
}

export const browserTest = (name: string, run: () => Promise<void>): void => toolTest('chromium', name, run)
