'use strict'

/** Only makes the strings: what the work costs before any client comes in. */
module.exports = async function strings({ workload }, clock) {
  const { commands, lower } = workload
  const nobody = { units: 0, hset: (key, field, value) => (nobody.units += key.length + field.length + value.length) }
  await clock(async () => {
    for (let number = 0; number < commands; number++) lower(nobody, number)
  })
  return { succeeded: commands, failed: 0 }
}
