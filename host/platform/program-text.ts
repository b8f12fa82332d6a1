/**
 * The text of a program, in CommonJS, that runs in a thread or process of its own. In the sources it imports the file; in
 * the build there is no call left, as bundles have the whole program inside (build.mjs): no file has to be found, so that
 * a bundle which somebody bundles again is one file that works.
 */
export function programText(moduleUrl: string, name: string): string {
  return `import(${JSON.stringify(new URL(name, moduleUrl).href)})`
}
