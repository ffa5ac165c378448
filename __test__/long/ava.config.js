// The second ring: what repeats or measures. `npm run test:long`.

import { readFileSync } from 'node:fs'

const { ava } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))

export default { ...ava, files: ['__test__/long/*.spec.ts'] }
