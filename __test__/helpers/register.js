// Loaded into each process that runs tests, before them.

import { register } from 'node:module'

// Lets ava read TypeScript. Only the hook for `import`: the one for `require` would rewrite the package's own
// CommonJS files, which then no longer load each other.
register('@oxc-node/core/esm', import.meta.url)

// A runner that is killed cannot end its processes: they see that nobody is there any more.
process.once('disconnect', () => process.exit(1))
