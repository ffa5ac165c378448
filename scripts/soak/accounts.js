'use strict'

// What the journals of a leg say, held against what the leg promises and against itself.

/**
 * The batches in their order, each with its line and the fate of its commands: `done`, `refused`, or `maybe`.
 * Batches that were under way when a writer was killed have no line.
 */
function history(lines, leg) {
  return lines
    .filter(({ batch }) => batch !== undefined)
    .toSorted((a, b) => a.batch - b.batch)
    .map((line) => {
      const refused = new Set(line.refused)
      // Without replies, what is left is that exec() resolved.
      const certain = leg.unknown === 'all' ? line.rejected === undefined : line.unknown === 0
      const fate = (index) => (refused.has(index) ? 'refused' : certain ? 'done' : 'maybe')
      return { batch: line.batch, line, fate }
    })
}

function checkAccounts(lines, leg, violations) {
  let acknowledged = 0
  for (const line of lines) {
    if (line.resumed < acknowledged) {
      violations.add('acknowledged and lost', `batch ${acknowledged}, where lastCheckpoint() is ${line.resumed}`)
    }
    if (line.batch === undefined) continue
    checkLine(line, leg, violations)
    if (line.batch <= acknowledged) violations.add('acknowledged twice, or out of order', `batch ${line.batch}`)
    acknowledged = line.batch
  }
}

function checkLine(
  { batch, appended, rejected, commands, succeeded, failed, unknown, errors, refused },
  leg,
  violations,
) {
  const where = `batch ${batch}`
  if (commands !== appended) violations.add('commands', `${where}: ${commands} of ${appended}`)
  if (commands !== succeeded + failed + unknown) {
    violations.add(
      'commands !== succeeded + failed + unknown',
      `${where}: ${commands}, ${succeeded}, ${failed}, ${unknown}`,
    )
  }
  if (refused.length !== failed) violations.add('failures', `${where}: ${refused.length} of ${failed}`)
  if (rejected !== undefined && !leg.rejects.includes(rejected)) violations.add(`rejected: ${rejected}`, where)
  if (rejected === undefined) {
    for (const [code, count] of Object.entries(errors)) {
      if (!leg.refusals.includes(code)) violations.add(`failed: ${code}`, where, count)
    }
  }
  if (leg.unknown === 'none' && unknown > 0) violations.add('unknown', where, unknown)
}

/** Only for a writer that lived through the leg. */
function checkSummary(lines, summary, violations) {
  for (const name of ['commands', 'succeeded', 'failed', 'unknown']) {
    const sum = total(lines, name)
    if (summary[name] !== sum) violations.add('summary', `${name}: ${summary[name]}, where the batches have ${sum}`)
  }
}

function total(lines, name) {
  return lines.reduce((sum, line) => sum + (line[name] ?? 0), 0)
}

module.exports = { checkAccounts, checkSummary, history, total }
