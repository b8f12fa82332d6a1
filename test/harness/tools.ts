/**
 * Programs that some tests need and a bare machine lacks: the one place that looks for them. tools.json names each with
 * the command that installs it, and a Vulkan driver by its description, a .json; .ci/bare hides them all, and .ci/run installs them. With GTA_TOOLS=none none is found.
 *
 * A test that lacks its tool says SKIPPED, why, and in parentheses at the end what to install: test/run.mjs sums that.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import tools from './tools.json' with { type: 'json' }

export type Tool = keyof typeof tools

const root = fileURLToPath(new URL('../../', import.meta.url))
/** Whether tools are looked for at all. */
export const isBare = process.env.GTA_TOOLS === 'none'
if (process.env.GTA_TOOLS !== undefined && !isBare)
  throw new Error(`GTA_TOOLS must be "none" or unset, found "${process.env.GTA_TOOLS}"`)

/** Debian's own first: a python3 of somebody's home is rarely the one with torch. */
const folders = ['/usr/bin', ...(process.env.PATH ?? '').split(':').filter((folder) => folder !== '')]

function isThere(path: string): boolean {
  try {
    accessSync(path, path.endsWith('.json') ? constants.R_OK : constants.X_OK)
    // .ci/bare hides a file under /dev/null.
    return statSync(path).isFile()
  } catch {
    return false
  }
}

/** Whether a driver's description says a Vulkan that Dawn takes: Mesa 22.3, which says 1.3, it refuses. */
function isNewVulkan(path: string): boolean {
  const { ICD } = JSON.parse(readFileSync(path, 'utf8')) as { ICD: { api_version: string } }
  const [major = 0, minor = 0] = ICD.api_version.split('.').map(Number)
  return major > 1 || minor >= 4
}

/** What must be true of a program besides being there. */
const works: Partial<Record<Tool, (path: string) => boolean>> = {
  python: (path) => spawnSync(path, ['-c', 'import torch, numpy, regex'], { stdio: 'ignore' }).status === 0,
  lavapipe: isNewVulkan,
}
/** Environment variables that name a program. */
const chosen: Partial<Record<Tool, string | undefined>> = { python: process.env.PYTHON }

const found = new Map<Tool, string | undefined>()

/** The path of a tool's program; undefined where there is none. */
export function findTool(tool: Tool): string | undefined {
  if (isBare) return undefined
  if (!found.has(tool)) {
    const named = tools[tool].programs.flatMap((program) =>
      program.includes('/') ? [resolve(root, program)] : folders.map((folder) => join(folder, program)),
    )
    const candidates = new Set([chosen[tool] ?? [], named].flat())
    found.set(
      tool,
      [...candidates].find((path) => isThere(path) && (works[tool]?.(path) ?? true)),
    )
  }
  return found.get(tool)
}

/** Why a test that needs the tool is skipped. */
export const lacking = (tool: Tool): string => `no ${tool} here (${tools[tool].install})`

/** What test/run.mjs shows in any case: a test that did not run is no test that passed. */
export function skipLoudly(what: string, why: string): void {
  console.log(`SKIPPED: ${what}: ${why}`)
}

/** A test that needs a tool. */
export function toolTest(tool: Tool, name: string, run: () => Promise<void> | void): void {
  if (findTool(tool)) test(name, run)
  else skipLoudly(name, lacking(tool))
}
