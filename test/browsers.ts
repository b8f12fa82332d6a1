/** The browser of the tests: Debian's chromium. Where there is none, they are skipped with a loud line. */
import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'
import { test } from 'uvu'

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
export const hasBrowser = executablePath !== undefined
/** Where pictures are kept, if anywhere: GTA_SCREENSHOTS=DIR. */
export const screenshots = process.env.GTA_SCREENSHOTS

export async function launchBrowser(): Promise<Browser | undefined> {
  return executablePath ? chromium.launch({ executablePath, args: ['--no-sandbox'], timeout: 120_000 }) : undefined
}

export function browserTest(name: string, run: () => Promise<void>): void {
  if (executablePath) test(name, run)
  else console.error(`SKIPPED, NO BROWSER (apt-get install chromium): ${name}`)
}
