/** The version of package.json: the build puts it here (test/toolchain/build.mjs). */
export function version(): string {
  return 'from source'
}
