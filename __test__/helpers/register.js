// Lets ava read TypeScript. Only the hook for `import`: the one for `require` would rewrite the package's own
// CommonJS files, which then no longer load each other.

import { register } from 'node:module'

register('@oxc-node/core/esm', import.meta.url)
