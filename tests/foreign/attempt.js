// One attempt: its numbered events, who watches it, and every way in which it is stopped.
'use strict';

const { repeat } = require('./task_types');
const { now, toStruct } = require('./values');

const TERMINAL = ['completed', 'failed', 'cancelled', 'handed_back'];

class Attempt {
  // `orphanSeconds`: how long it goes on while nobody watches. `changed(attempt)` is called when it has ended.
  constructor(request, input, timeoutSeconds, { node, replica, orphanSeconds, changed }) {
    this.taskId = request.spec.task_id;
    this.attempt = request.attempt || 1;
    this.fence = BigInt(request.fence);
    this.events = [];
    this.superseded = false;
    this.read = false;
    this.watchers = new Set();
    this.input = input;
    this.timeoutSeconds = timeoutSeconds;
    this.node = node;
    this.replica = replica;
    this.orphanSeconds = orphanSeconds;
    this.changed = changed;
    this.stopping = null;
    this.control = new AbortController();
    this.gone = new Promise((resolve) => {
      this.left = resolve;
    });
    this.mindOrphan();
  }

  get ended() {
    const last = this.events[this.events.length - 1];
    return last !== undefined && TERMINAL.includes(last.event);
  }

  // Begin, once the older attempt at the same task is gone.
  async run(predecessor) {
    if (predecessor) await predecessor.gone;
    const begun = process.hrtime.bigint();
    const seconds = () => Number(process.hrtime.bigint() - begun) / 1e9;
    const timer = setTimeout(() => this.stop('deadline'), this.timeoutSeconds * 1000);
    let end;
    try {
      if (this.stopping) throw new Error(this.stopping);
      this.say('started', { node: this.node, replica: this.replica });
      const report = (percent, message) => this.say('progress', { percent, stage: 'repeat', message });
      const output = await repeat(this.input, report, this.control.signal);
      end = ['completed', { output: toStruct(output), duration_seconds: seconds() }];
    } catch (error) {
      end = this.unfinished(error, seconds());
    }
    clearTimeout(timer);
    clearTimeout(this.orphanTimer);
    this.say(...end);
    this.left();
    this.changed(this);
  }

  unfinished(error, seconds) {
    switch (this.stopping) {
      case 'cancel':
        return ['cancelled', { reason: this.reason, duration_seconds: seconds }];
      case 'deadline': {
        const message = `the task took longer than ${this.timeoutSeconds} s`;
        return ['failed', { error: { code: 'DEADLINE_EXCEEDED', message, retryable: true }, duration_seconds: seconds }];
      }
      case null:
        return ['failed', { error: { code: 'INTERNAL', message: String(error) }, duration_seconds: seconds }];
      default: // nobody watches, a newer attempt is here, or the node is draining
        return ['handed_back', {}];
    }
  }

  say(kind, body) {
    if (this.ended) return;
    const place = { task_id: this.taskId, attempt: this.attempt, sequence: this.events.length + 1, time: now() };
    this.events.push({ ...place, [kind]: body, event: kind });
    this.wake();
  }

  stop(why, reason = '') {
    if (this.ended || (this.stopping && why !== 'superseded')) return;
    this.stopping = why;
    this.reason = reason;
    if (why === 'superseded') this.superseded = true;
    this.control.abort(new Error(why));
    this.wake();
  }

  wake() {
    for (const watcher of this.watchers) watcher.wake();
  }

  watch(watcher) {
    this.watchers.add(watcher);
    this.mindOrphan();
  }

  leave(watcher) {
    this.watchers.delete(watcher);
    this.mindOrphan();
  }

  mindOrphan() {
    clearTimeout(this.orphanTimer);
    if (this.watchers.size === 0 && !this.ended) {
      this.orphanTimer = setTimeout(() => this.stop('orphaned'), this.orphanSeconds * 1000);
    }
  }
}

module.exports = { Attempt };
