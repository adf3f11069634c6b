// What this node can do: one task that repeats a text, for as long as it is told.
'use strict';

const INPUT = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  properties: {
    text: { type: 'string', maxLength: 1000, description: 'What to say.' },
    times: { type: 'integer', minimum: 1, maximum: 100, default: 1, description: 'How often.' },
    seconds: { type: 'number', minimum: 0, maximum: 3600, default: 0, description: 'How long to take.' },
  },
  required: ['text'],
  additionalProperties: false,
};

const OUTPUT = { type: 'object', properties: { text: { type: 'string' } }, required: ['text'] };

class Refused extends Error {}

// Check an input by the schema above, by hand. Throws Refused.
function checked(input) {
  for (const name of Object.keys(input)) {
    if (!(name in INPUT.properties)) throw new Refused(`/input/${name}: is not a field of this task`);
  }
  const { text, times = 1, seconds = 0 } = input;
  if (typeof text !== 'string' || text.length > 1000) throw new Refused('/input/text: a text of at most 1000 characters');
  if (!Number.isInteger(times) || times < 1 || times > 100) throw new Refused('/input/times: 1 to 100');
  if (typeof seconds !== 'number' || !(seconds >= 0 && seconds <= 3600)) throw new Refused('/input/seconds: 0 to 3600');
  return { text, times, seconds };
}

const MAX_STEPS = 20;

// Run the task: `report(percent, message)` as it goes, until it is done or `signal` aborts. Resolves to the output.
async function repeat({ text, times, seconds }, report, signal) {
  const steps = seconds > 0 ? Math.min(MAX_STEPS, Math.ceil(seconds * 4)) : 0;
  for (let step = 1; step <= steps; step += 1) {
    await sleep((seconds * 1000) / steps, signal);
    report((100 * step) / steps, `${step} of ${steps}`);
  }
  return { text: text.repeat(times) };
}

function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, milliseconds);
    signal.addEventListener('abort', stop, { once: true });
  });
}

const NODE = 'parrot';

const TASK_TYPES = [
  {
    name: `${NODE}.repeat`,
    node: NODE,
    description: 'Repeats a text.',
    input_schema: JSON.stringify(INPUT),
    output_schema: JSON.stringify(OUTPUT),
    timeout_seconds: 600,
    reuse_field: 'text',
  },
];

module.exports = { NODE, TASK_TYPES, Refused, checked, repeat };
