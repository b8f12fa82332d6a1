/** Where the build is: sources run from host/, the bundle from dist/ itself. */
const here = import.meta.url

// Not new URL(…, import.meta.url), which webpack takes for a file to copy.
export const distUrl = new URL(here.endsWith('.ts') ? '../../dist/' : './', here)
