// For `npm run bench:ava` alone: it wants the machine to itself.
export default {
  extensions: { ts: 'module' },
  nodeArguments: ['--import', './__test__/helpers/register.js'],
  files: ['__test__/bench/*.spec.ts'],
  timeout: '10m',
  workerThreads: false,
  concurrency: 1,
}
